#!/usr/bin/env bash
# uvicorn 0.54.0 with h11 0.16.0: timeout_keep_alive begins to count only after an answer. A
# connection on which nothing, or half of a request, has come is not closed by it.
#
# Output seen: "after an answer: closed; without a request: open; with half a request: open"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 h11==0.16.0
cat > "$folder/try.py" <<'PY'
import socket
import threading
import time

import uvicorn


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


config = uvicorn.Config(
    app, port=0, log_level="error", timeout_keep_alive=1, http="h11", ws="none", lifespan="off"
)
server = uvicorn.Server(config)
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.05)
port = server.servers[0].sockets[0].getsockname()[1]


def state(sent):
    """Return what the connection is five seconds after these bytes, with a timeout of one."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(sent)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        connection.settimeout(max(0.01, end - time.monotonic()))
        try:
            if not connection.recv(4096):
                return "closed"
        except TimeoutError:
            break
    return "open"


whole, half = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"GET / HT"
seen = (
    f"after an answer: {state(whole)}; without a request: {state(b'')}; "
    f"with half a request: {state(half)}"
)
server.should_exit = True
thread.join(30)
print(seen)
PY
seen=$("$folder/venv/bin/python" "$folder/try.py")
echo "$seen"
[ "$seen" = "after an answer: closed; without a request: open; with half a request: open" ] || {
  echo "the behaviour has changed" >&2
  exit 1
}
