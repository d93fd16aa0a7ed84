"""Embeddings and reranking: where they go, and what odd replies are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agentgateway_bedrock.plugin import Bedrock

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Headers, Outgoing, Usage
from agentgateway.llm.calls import LlmCall, LlmReply
from agentgateway.llm.dialects import dialect
from agentgateway.testing import make


def bedrock(region: str = "us-east-1") -> Bedrock:
    made: Bedrock = make("agentgateway.providers", "bedrock", {"region": region})
    return made


def embedding(model: str, **more: Any) -> LlmCall:
    provider = bedrock()
    call = read("embeddings", "/v1/embeddings", {"model": model, "input": "a", **more})
    return call.outbound(dialect(provider.speaks("embeddings", model)[0]))


def ranking(model: str = "amazon.rerank-v1:0", **more: Any) -> LlmCall:
    return read("rerank", "/v2/rerank", {"model": model, "query": "q", "documents": ["a", "b"], **more})


def read(name: str, path: str, document: Any) -> LlmCall:
    return LlmCall.read(dialect(name), json.dumps(document).encode(), path)


def finished(provider: Bedrock, call: LlmCall, url: str = "", **headers: str) -> Outgoing:
    outgoing = Outgoing("POST", url or provider.url, provider.path(call), Headers.of(headers))
    provider.finish(outgoing, call)
    return outgoing


@pytest.mark.parametrize(
    ("model", "spoken"),
    [
        ("amazon.titan-embed-text-v2:0", ("bedrock_titan",)),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v1", ("bedrock_titan",)),
        ("global.cohere.embed-v4:0", ("bedrock_cohere",)),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", ()),
        ("cohere.command-r-v1:0", ()),
    ],
)
def test_the_model_says_how_it_is_asked(model: str, spoken: tuple[str, ...]) -> None:
    assert bedrock().speaks("embeddings", model) == spoken


@pytest.mark.parametrize(
    ("model", "more", "document"),
    [
        ("amazon.titan-embed-text-v1", {}, {"inputText": "a"}),
        ("amazon.titan-embed-text-v2:0", {}, {"inputText": "a", "normalize": True}),
        (
            "amazon.titan-embed-image-v1",
            {"dimensions": 384},
            {"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 384}},
        ),
        (
            "cohere.embed-multilingual-v3",
            {},
            {"texts": ["a"], "input_type": "search_document", "embedding_types": ["float"]},
        ),
    ],
)
def test_each_in_its_own_words(model: str, more: Any, document: Any) -> None:
    assert embedding(model, **more).document == document


@pytest.mark.parametrize(
    ("region", "host", "partition"),
    [
        ("eu-west-1", "bedrock-agent-runtime.eu-west-1.amazonaws.com", "aws"),
        ("us-gov-west-1", "bedrock-agent-runtime.us-gov-west-1.amazonaws.com", "aws-us-gov"),
        ("cn-north-1", "bedrock-agent-runtime.cn-north-1.amazonaws.com.cn", "aws-cn"),
    ],
)
def test_reranking_is_another_services(region: str, host: str, partition: str) -> None:
    provider, call = bedrock(region), ranking().outbound(dialect("bedrock_rerank"))
    outgoing = finished(provider, call)
    assert (outgoing.url, outgoing.target, outgoing.scope) == (f"https://{host}", "/rerank", ("bedrock", region))
    arn = f"arn:{partition}:bedrock:{region}::foundation-model/amazon.rerank-v1:0"
    assert json.loads(call.body())["rerankingConfiguration"]["bedrockRerankingConfiguration"] == {
        "modelConfiguration": {"modelArn": arn},
        "numberOfResults": 2,
    }


def test_an_address_of_the_operators_stays() -> None:
    call = ranking("arn:aws:bedrock:us-west-2::foundation-model/x").outbound(dialect("bedrock_rerank"))
    assert finished(bedrock(), call, "http://vpce").url == "http://vpce"
    assert b'"arn:aws:bedrock:us-west-2::foundation-model/x"' in call.body()


def test_metadata_and_betas_do_not_go_where_nobody_reads_them() -> None:
    headers = {"x-bedrock-metadata": '{"team":"red"}', "anthropic-beta": "x"}
    fields = dict(finished(bedrock(), embedding("cohere.embed-v4:0"), **headers).headers)
    assert fields["x-amzn-bedrock-request-metadata"] == '{"team":"red"}'
    assert not {"x-bedrock-metadata", "anthropic-beta"} & set(fields)
    with pytest.raises(InvalidRequest):
        finished(bedrock(), embedding("cohere.embed-v4:0"), **{"x-bedrock-metadata": "red"})


@pytest.mark.parametrize(
    ("told", "usage"),
    [("12", Usage(12)), ("", None), ("x", None), ("-1", None), ("9" * 400, None), ("1.5", None)],
)
def test_a_header_counts_tokens(told: str, usage: Usage | None) -> None:
    reply = LlmReply(dialect("bedrock_cohere"), {"embeddings": [[1, 2.5]]})
    reply.dialect.read_headers(reply.document, Headers.of({"x-amzn-bedrock-input-token-count": told}))
    assert reply.usage() == usage
    document = reply.translated(dialect("embeddings")).document
    assert document["data"][0]["embedding"] == [1.0, 2.5]


def test_the_documents_own_count_wins() -> None:
    reply = LlmReply(dialect("bedrock_titan"), {"embedding": [1], "inputTextTokenCount": 3})
    reply.dialect.read_headers(reply.document, Headers.of({"x-amzn-bedrock-input-token-count": "12"}))
    assert reply.usage() == Usage(3)


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("bedrock_titan", {}),
        ("bedrock_titan", {"embedding": "x"}),
        ("bedrock_titan", {"embedding": [True]}),
        ("bedrock_cohere", {"embeddings": {"int8": [[1]]}}),
        ("bedrock_cohere", {"embeddings": [7]}),
    ],
)
def test_a_reply_without_vectors_is_the_upstreams_error(name: str, document: Any) -> None:
    with pytest.raises(UpstreamError):
        LlmReply(dialect(name), document).translated(dialect("embeddings"))


@pytest.mark.parametrize("results", [None, [{}], [{"index": None, "relevanceScore": 1}], [{"index": "x"}]])
def test_a_reply_without_a_ranking_is_the_upstreams_error(results: Any) -> None:
    with pytest.raises(UpstreamError):
        LlmReply(dialect("bedrock_rerank"), {"results": results}).translated(dialect("rerank"))


def test_a_document_that_there_is_not_cannot_be_ranked() -> None:
    reply = LlmReply(dialect("bedrock_rerank"), {"results": [{"index": 2, "relevanceScore": 1}]})
    assert reply.translated(dialect("rerank"), ranking().canonical()).document["results"]
    with pytest.raises(UpstreamError):
        reply.translated(dialect("rerank"), ranking(return_documents=True).canonical())


@pytest.mark.parametrize("name", ["bedrock_titan", "bedrock_cohere", "bedrock_rerank"])
def test_no_client_speaks_them(name: str) -> None:
    with pytest.raises(InvalidRequest):
        dialect(name).read({}, "/x")
    assert dialect(name).paths == ()
