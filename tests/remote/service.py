"""A service of the S3 protocol on this machine: moto's, which keeps objects in memory and honours conditional writes.

What a real service does now and then is put before it: it is busy, refuses, or is not there.
"""

import logging
import threading
from collections import Counter
from io import BytesIO

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
DENIED = b"<Error><Code>InvalidAccessKeyId</Code><Message>There is no such key.</Message></Error>"


class QuietHandler(MotoRequestHandler):
    def log(self, *_):
        pass


class Service:
    """The service; `requests` counts what was asked by method, `log` lists it.

    busy_every: every so many requests are answered with 503.
    on_request: called with method and path before each request.
    """

    def __init__(self):
        self.requests, self.log, self.busy_every, self.on_request = Counter(), [], 0, None
        self._app, self._lock, self._count = DomainDispatcherApplication(create_backend_app), threading.Lock(), 0
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=QuietHandler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __call__(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if self.on_request is not None:
            self.on_request(method, path)
        with self._lock:
            self._count += 1
            self.requests[method] += 1
            self.log.append((method, path))
            busy = self.busy_every and self._count % self.busy_every == 0
        if busy or "Credential=wrong" in environ.get("HTTP_AUTHORIZATION", ""):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"].read(length)
            status, body = ("503 Slow Down", BUSY) if busy else ("403 Forbidden", DENIED)
            start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return BytesIO(body)
        return self._app(environ, start_response)

    def forget(self):
        """Count from now on."""
        self.requests.clear()
        self.log.clear()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
