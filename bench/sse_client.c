// Asks for streams and times their chunks: the load of the streaming benchmarks.
//
//   sse_client PORT CONNECTIONS ROUNDS SECONDS BODY_FILE [PATH] [HEADERS]
//
// Each connection makes ROUNDS streaming requests, one after the other, and stops beginning new ones after SECONDS.
// HEADERS are lines, joined by CRLF. A chunk whose text is "t<nanoseconds>" (mock_upstream.c) was sent at that moment;
// its latency is the time until we had read it. Prints one JSON object.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS 256
#define MAX_REPLY (1 << 20)
#define PATIENCE_MS 20000

typedef struct {
    int fd, rounds, chunks;
    unsigned long long asked_at;
    char *reply;
    size_t length, scanned;
} Stream;

typedef struct {
    double *values;
    size_t count, capacity;
} Samples;

static int port, rounds, live;
static char *request;
static size_t request_length;
static unsigned long long stop_at;
static Samples latencies, first_chunks;
static long finished, errors;

static unsigned long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void sample(Samples *s, unsigned long long ns) {
    if (s->count == s->capacity)
        s->values = realloc(s->values, (s->capacity = s->capacity * 2 + 1024) * sizeof(double));
    s->values[s->count++] = ns / 1e3;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(Samples *s, double share) {
    return s->count ? s->values[(size_t)(share * (s->count - 1))] : 0;
}

static void compose_request(const char *body_file, const char *path, const char *headers) {
    FILE *file = fopen(body_file, "rb");
    if (!file) {
        perror(body_file);
        exit(1);
    }
    char *body = malloc(MAX_REPLY);
    size_t length = fread(body, 1, MAX_REPLY, file);
    fclose(file);
    request = malloc(length + 8192);
    request_length = snprintf(request, 8192,
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
        "%s%sContent-Length: %zu\r\n\r\n", path, port, headers, *headers ? "\r\n" : "", length);
    memcpy(request + request_length, body, length);
    request_length += length;
    free(body);
}

static void ask(Stream *s) {
    s->length = s->scanned = 0;
    s->chunks = 0;
    s->asked_at = now_ns();
    if (send(s->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
        errors++;
}

static void dial(int poll, Stream *s) {
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s->fd, (void *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(poll, EPOLL_CTL_ADD, s->fd, &event);
    ask(s);
}

static void leave(Stream *s) {
    close(s->fd);
    live--;
}

// Take the time of each chunk that is complete by now.
static void time_chunks(Stream *s, unsigned long long now) {
    for (;;) {
        char *from = s->reply + s->scanned;
        char *mark = strstr(from, "\"content\":");
        if (!mark)
            return;
        char *text = mark + 10 + (mark[10] == ' ');
        char *end = *text ? strchr(text + 1, '"') : NULL;
        if (!end)
            return;
        if (text[1] == 't') {
            sample(&latencies, now - strtoull(text + 2, NULL, 10));
            if (!s->chunks++)
                sample(&first_chunks, now - s->asked_at);
        }
        s->scanned = end - s->reply;
    }
}

static void next_round(int poll, Stream *s, int closed) {
    finished++;
    if (++s->rounds >= rounds || now_ns() > stop_at) {
        leave(s);
        return;
    }
    if (!closed) {
        ask(s);
        return;
    }
    close(s->fd);
    dial(poll, s);
}

static void read_stream(int poll, Stream *s) {
    ssize_t got = recv(s->fd, s->reply + s->length, MAX_REPLY - 1 - s->length, 0);
    unsigned long long now = now_ns();
    if (got > 0)
        s->length += got;
    s->reply[s->length] = 0;
    time_chunks(s, now);
    char *done = strstr(s->reply + s->scanned, "data: [DONE]");
    if (done && (got <= 0 || strstr(done, "\r\n0\r\n\r\n") || strstr(done, "\n0\r\n\r\n"))) {
        next_round(poll, s, got <= 0);
    } else if (got <= 0 || (s->length > 12 && strncmp(s->reply + 8, " 200", 4))) {
        if (!errors++)
            fprintf(stderr, "%.300s\n", s->reply);
        leave(s);
    }
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "usage: sse_client PORT CONNECTIONS ROUNDS SECONDS BODY_FILE [PATH] [HEADERS]\n");
        return 2;
    }
    port = atoi(argv[1]);
    live = atoi(argv[2]);
    rounds = atoi(argv[3]);
    compose_request(argv[5], argc > 6 ? argv[6] : "/v1/chat/completions", argc > 7 ? argv[7] : "");
    unsigned long long started = now_ns();
    stop_at = started + atoi(argv[4]) * 1000000000ull;
    int poll = epoll_create1(0);
    Stream *streams = calloc(live, sizeof(Stream));
    for (int i = 0, count = live; i < count; i++) {
        streams[i].reply = malloc(MAX_REPLY);
        dial(poll, &streams[i]);
    }
    struct epoll_event events[MAX_EVENTS];
    while (live) {
        int ready = epoll_wait(poll, events, MAX_EVENTS, PATIENCE_MS);
        if (!ready) {
            fprintf(stderr, "nothing came for %d s; %d streams given up\n", PATIENCE_MS / 1000, live);
            errors += live;
            break;
        }
        for (int i = 0; i < ready; i++)
            read_stream(poll, events[i].data.ptr);
    }
    double wall = (now_ns() - started) / 1e9;
    qsort(latencies.values, latencies.count, sizeof(double), ascending);
    qsort(first_chunks.values, first_chunks.count, sizeof(double), ascending);
    printf("{\"seconds\": %.3f, \"streams\": %ld, \"chunks\": %zu, \"chunks_per_s\": %.0f, \"errors\": %ld, "
           "\"p50_us\": %.0f, \"p99_us\": %.0f, \"first_chunk_p50_us\": %.0f}\n",
        wall, finished, latencies.count, latencies.count / wall, errors, percentile(&latencies, .5),
        percentile(&latencies, .99), percentile(&first_chunks, .5));
    return 0;
}
