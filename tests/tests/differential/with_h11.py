"""Reads each file of a directory as the bytes that a server of HTTP/1.1 was sent, and prints what they say: a line of
JSON for each request, and one for each file. Bytes are written as Latin-1. What is wrong is an `error` of its file."""

import email.parser
import email.policy
import json
import os
import sys
import urllib.parse

import h11


def requests(data):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    fed = 0
    request, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            piece = data[fed : fed + 65536]
            fed += len(piece)
            connection.receive_data(piece)
        elif isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            if event.headers:
                raise ValueError("trailers")
            yield request, body
            # A client may pipeline; this one is answered before it is read on.
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                left = len(data) - fed + len(connection.trailing_data[0])
                if left:
                    raise ValueError(f"{left} bytes behind the last request")
                return
            connection.start_next_cycle()
        elif isinstance(event, h11.ConnectionClosed):
            return
        else:
            raise ValueError(repr(event))


def fields(content_type, body):
    """The texts that a body names."""
    media = content_type.split(";")[0].strip().lower()
    if not body:
        return []
    if media == "application/x-www-form-urlencoded":
        return urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    if media == "multipart/form-data":
        head = f"content-type: {content_type}\r\n\r\n".encode("latin-1")
        parts = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body).get_payload()
        named = [(part.get_param("name", header="content-disposition"), part) for part in parts]
        return [(name, part.get_payload(decode=True).decode()) for name, part in named if part.get_filename() is None]
    try:
        named = json.loads(body)
    except ValueError:
        # Not every body is judged.
        return []
    return [(name, value) for name, value in named.items() if isinstance(value, str)]


def line(request, body):
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    target = request.target.decode("latin-1")
    path, _, query = target.partition("?")
    content_type = next((value for name, value in headers if name == "content-type"), "")
    return {
        "version": request.http_version.decode(),
        "method": request.method.decode("latin-1"),
        "target": target,
        "headers": headers,
        "body": body.decode("latin-1"),
        "path": [urllib.parse.unquote(segment, errors="strict") for segment in path.split("/")],
        "query": urllib.parse.parse_qsl(query, keep_blank_values=True, errors="strict"),
        "fields": fields(content_type, body),
    }


for name in sorted(os.listdir(sys.argv[1])):
    with open(os.path.join(sys.argv[1], name), "rb") as file:
        sent = file.read()
    error = None
    try:
        for request, body in requests(sent):
            print(json.dumps({"file": name, **line(request, body)}))
    except Exception as failed:
        error = repr(failed)
    print(json.dumps({"file": name, "error": error}))
