"""An OTLP collector over gRPC."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans it is sent."""

    def __init__(self):
        self.spans, self.resources = [], []

    def Export(self, request, context):  # noqa: N802  the name in the protocol
        for resource in request.resource_spans:
            self.resources.append({one.key: one.value.string_value for one in resource.resource.attributes})
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


@contextlib.contextmanager
def collecting(host="127.0.0.1"):
    """A collector that listens; `port` is where."""
    server = grpc.server(ThreadPoolExecutor(2))
    made = Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(made, server)
    made.port = server.add_insecure_port(f"{host}:0")
    server.start()
    try:
        yield made
    finally:
        server.stop(None).wait()
