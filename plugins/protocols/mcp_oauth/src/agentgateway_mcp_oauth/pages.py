"""What browsers are shown: small pages that nobody may frame, keep, or run anything in."""

from __future__ import annotations

from html import escape

from agentgateway.exchange import Headers, Reply

ALWAYS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with none at all a form's origin is `null`
)
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:1.1em system-ui;max-width:34em;margin:4em auto;padding:0 1em}}button{{font:inherit}}</style>
<h1>{title}</h1>
{body}
</html>
"""
_ASK = """<p>An MCP client asks to use <b>{target}</b> for the user <b>{who}</b> of this gateway.
Go on only if that is you, and if you have just been asked to.</p>
<form method="post"><button autofocus>Log in to {target}</button></form>"""


def page(status: int, title: str, text: str) -> Reply:
    """A page that says something."""
    return _reply(status, title, f"<p>{escape(text)}</p>")


def question(target: str, who: str) -> Reply:
    """The page in front of a login. What follows a link by itself, to preview it, begins none; and a user who was sent
    somebody else's link can see that."""
    return _reply(200, f"Log in to {target}", _ASK.format(target=escape(target), who=escape(who)))


def onward(location: str, cookie: str) -> Reply:
    """To the authorization server."""
    headers = Headers([*ALWAYS, (b"location", location.encode("ascii")), (b"set-cookie", cookie.encode("ascii"))])
    return Reply(303, headers)


def _reply(status: int, title: str, body: str) -> Reply:
    headers = Headers([*ALWAYS, (b"content-type", b"text/html; charset=utf-8")])
    return Reply(status, headers, _PAGE.format(title=escape(title), body=body).encode())
