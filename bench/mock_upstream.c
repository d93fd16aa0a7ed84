// A model API that answers at once: the upstream of every benchmark.
//
//   mock_upstream PORT INTERVAL_US CHUNKS
//
// A body with "stream": true gets CHUNKS chat completion chunks as server-sent events, one every INTERVAL_US for all
// open streams (0: back to back), then one with the usage, then [DONE]. Anything else gets a completion of about 1 KB.
// Each chunk's text is "t" and the CLOCK_MONOTONIC nanoseconds at which it was sent, for sse_client.c to read.
//
// A body with a string "soak-..." is echoed, for soak.py to check: a completion begins with that word, and each chunk has
// it and its own number behind the time.
//
// One thread, epoll, HTTP/1.1 with keep-alive on 127.0.0.1. It believes its clients; serve nobody else with it.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS 65536
#define MAX_EVENTS 512
#define ROOM 65536

typedef struct {
    char *bytes;
    size_t length, capacity;
    int chunks_left;
    int streaming;
    char word[48];
} Connection;

static Connection *connections[MAX_FDS];
static int streams[MAX_FDS], stream_count;
static int chunks_per_stream;

static char completion[4096];
static size_t completion_length;

static const char STREAM_HEAD[] = "HTTP/1.1 200 OK\r\n"
                                  "Content-Type: text/event-stream; charset=utf-8\r\n"
                                  "Cache-Control: no-cache\r\n"
                                  "X-Accel-Buffering: no\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n";
#define WORD "\"soak-"

static const char CHUNK[] = "data: {\"id\":\"chatcmpl-mock0001\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                            "\"model\":\"mock-model\",\"system_fingerprint\":\"fp_mock\",\"choices\":[{\"index\":0,"
                            "\"delta\":{\"content\":\"t%llu%s\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
static const char STREAM_END[] = "data: {\"id\":\"chatcmpl-mock0001\",\"object\":\"chat.completion.chunk\","
                                 "\"created\":1700000000,\"model\":\"mock-model\",\"choices\":[{\"index\":0,\"delta\":{},"
                                 "\"finish_reason\":\"stop\"}]}\n\n"
                                 "data: {\"id\":\"chatcmpl-mock0001\",\"object\":\"chat.completion.chunk\","
                                 "\"created\":1700000000,\"model\":\"mock-model\",\"choices\":[],\"usage\":"
                                 "{\"prompt_tokens\":120,\"completion_tokens\":100,\"total_tokens\":220}}\n\n"
                                 "data: [DONE]\n\n";

static size_t compose_completion(char *out, size_t room, const char *word) {
    char text[641], body[2048];
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = i % 6 == 5 ? ' ' : 'a';
    text[sizeof text - 1] = 0;
    int length = snprintf(body, sizeof body,
        "{\"id\":\"chatcmpl-mock0001\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"mock-model\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s%s\",\"refusal\":null},"
        "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":120,\"completion_tokens\":80,"
        "\"total_tokens\":200},\"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\"}", word, text);
    return snprintf(out, room,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nx-request-id: req_mock\r\n\r\n%s",
        length, body);
}

static unsigned long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int write_all(int fd, const char *bytes, size_t length) {
    while (length) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            usleep(50); // a reader this slow is not what we measure
            continue;
        }
        if (sent < 0)
            return -1;
        bytes += sent;
        length -= sent;
    }
    return 0;
}

static int write_http_chunk(int fd, const char *data, size_t length, const char *after) {
    char out[2048];
    int total = snprintf(out, sizeof out, "%zx\r\n%.*s\r\n%s", length, (int)length, data, after);
    return write_all(fd, out, total);
}

static void forget_stream(int fd) {
    for (int i = 0; i < stream_count; i++)
        if (streams[i] == fd) {
            streams[i] = streams[--stream_count];
            return;
        }
}

static void hang_up(int fd) {
    if (connections[fd]->streaming)
        forget_stream(fd);
    free(connections[fd]->bytes);
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

// One chunk, or the end, for every open stream.
static void tick(void) {
    char data[512];
    for (int i = stream_count - 1; i >= 0; i--) {
        int fd = streams[i], failed;
        Connection *c = connections[fd];
        if (c->chunks_left > 0) {
            char said[64] = "";
            if (c->word[0])
                snprintf(said, sizeof said, "%s %d", c->word, chunks_per_stream - c->chunks_left);
            c->chunks_left--;
            failed = write_http_chunk(fd, data, snprintf(data, sizeof data, CHUNK, now_ns(), said), "");
        } else {
            forget_stream(fd);
            c->streaming = 0;
            failed = write_http_chunk(fd, STREAM_END, sizeof STREAM_END - 1, "0\r\n\r\n");
        }
        if (failed)
            hang_up(fd);
    }
}

// The word to echo, behind a blank; nothing where there is none.
static void find_word(Connection *c, const char *body, size_t length) {
    const char *mark = memmem(body, length, WORD, sizeof WORD - 1), *end;
    c->word[0] = 0;
    if (mark && (end = memchr(mark + 1, '"', body + length - mark - 1)) && end - mark < 40)
        snprintf(c->word, sizeof c->word, " %.*s", (int)(end - mark - 1), mark + 1);
}

static int reply(int fd, Connection *c, int stream) {
    char echo[4096];
    if (!stream && c->word[0])
        return write_all(fd, echo, compose_completion(echo, sizeof echo, c->word));
    if (!stream)
        return write_all(fd, completion, completion_length);
    c->chunks_left = chunks_per_stream;
    c->streaming = 1;
    streams[stream_count++] = fd;
    return write_all(fd, STREAM_HEAD, sizeof STREAM_HEAD - 1);
}

// The length of the first request in the buffer, or 0 while it is incomplete.
static size_t request_length(Connection *c, size_t *head) {
    char *end = memmem(c->bytes, c->length, "\r\n\r\n", 4);
    if (!end)
        return 0;
    *head = end - c->bytes + 4;
    size_t total = *head;
    end[3] = 0; // strcasestr stops here; nobody reads this byte again
    char *field = strcasestr(c->bytes, "content-length:");
    if (field)
        total += strtoul(field + 15, NULL, 10);
    else if (strcasestr(c->bytes, "transfer-encoding: chunked")) {
        char *last = memmem(c->bytes + *head, c->length - *head, "0\r\n\r\n", 5); // JSON has no bare CRLF inside
        total = last ? (size_t)(last - c->bytes) + 5 : c->length + 1;
    }
    end[3] = '\n';
    return total <= c->length ? total : 0;
}

static void answer_requests(int fd) {
    Connection *c = connections[fd];
    size_t head, total;
    while ((total = request_length(c, &head))) {
        char *body = c->bytes + head;
        size_t length = total - head;
        int stream = memmem(body, length, "\"stream\":true", 13) || memmem(body, length, "\"stream\": true", 14);
        find_word(c, body, length);
        memmove(c->bytes, c->bytes + total, c->length - total);
        c->length -= total;
        if (reply(fd, c, stream) < 0) {
            hang_up(fd);
            return;
        }
    }
}

static void read_requests(int fd) {
    Connection *c = connections[fd];
    if (!c)
        return;
    if (c->capacity - c->length < ROOM)
        c->bytes = realloc(c->bytes, c->capacity *= 2);
    ssize_t got = recv(fd, c->bytes + c->length, c->capacity - c->length, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        hang_up(fd);
        return;
    }
    c->length += got;
    answer_requests(fd);
}

static void watch(int poll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

static void accept_connections(int poll, int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connections[fd] = calloc(1, sizeof(Connection));
        connections[fd]->capacity = 2 * ROOM;
        connections[fd]->bytes = malloc(2 * ROOM);
        watch(poll, fd);
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, 4096)) {
        perror("mock_upstream");
        exit(1);
    }
    return fd;
}

static int tick_every(long us) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct timespec pace = {us / 1000000, us % 1000000 * 1000};
    struct itimerspec timer = {pace, pace};
    timerfd_settime(fd, 0, &timer, NULL);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: mock_upstream PORT INTERVAL_US CHUNKS\n");
        return 2;
    }
    long interval = atol(argv[2]);
    chunks_per_stream = atoi(argv[3]);
    signal(SIGPIPE, SIG_IGN);
    completion_length = compose_completion(completion, sizeof completion, "");
    int poll = epoll_create1(0), listener = listen_on(atoi(argv[1])), timer = interval > 0 ? tick_every(interval) : -1;
    watch(poll, listener);
    if (timer >= 0)
        watch(poll, timer);
    struct epoll_event events[MAX_EVENTS];
    for (;;) {
        int ready = epoll_wait(poll, events, MAX_EVENTS, timer < 0 && stream_count ? 0 : -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            unsigned long long expirations;
            if (fd == listener)
                accept_connections(poll, fd);
            else if (fd != timer)
                read_requests(fd);
            else if (read(fd, &expirations, sizeof expirations) > 0)
                tick();
        }
        if (timer < 0 && stream_count)
            tick();
    }
}
