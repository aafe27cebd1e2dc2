"""A client that we did not write: PyPI's grpcio learns the service by reflection and uses it over the unix socket."""

import unittest

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from harness import Editd, TEST_PLUGINS

SERVICE = "editd.v1.Editor"


class ForeignClient:
    def __init__(self, socket):
        self.channel = grpc.insecure_channel(f"unix:{socket}")
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)
        self.methods = self.pool.FindServiceByName(SERVICE).methods_by_name

    def call(self, name, /, **fields):
        method = self.methods[name]
        request = message_factory.GetMessageClass(method.input_type)(**fields)
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        return make(f"/{SERVICE}/{name}", request_serializer=lambda m: m.SerializeToString(),
                    response_deserializer=message_factory.GetMessageClass(method.output_type).FromString)(request, timeout=60)


class ForeignClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = cls.enterClassContext(Editd(config=TEST_PLUGINS))
        cls.client = ForeignClient(cls.editd.state / "editd.sock")

    def noop(self, **fields):
        """A NoopSpec in an Any, made from the descriptors that the daemon serves."""
        plugin = self.client.call("GetPlugin", name="noop").plugin
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(plugin.descriptors).file:
            pool.Add(file)
        spec = message_factory.GetMessageClass(pool.FindMessageTypeByName(plugin.spec_type))(**fields)
        return any_pb2.Any(type_url=f"type.googleapis.com/{plugin.spec_type}", value=spec.SerializeToString())

    def test_reflection_lists_the_services(self):
        services = self.client.database.get_services()
        self.assertIn(SERVICE, services)
        self.assertIn("grpc.health.v1.Health", services)

    def test_status_names_the_daemon(self):
        status = self.client.call("GetStatus")
        self.assertEqual(status.pid, self.editd.process.pid)
        self.assertEqual(status.state_dir, str(self.editd.state))

    def test_a_job_from_submit_to_its_last_event(self):
        params = self.noop(echo="từ xa")
        job = self.client.call("Submit", spec={"plugin": "noop", "params": {"type_url": params.type_url, "value": params.value}},
                               request_id="foreign-1").job
        states = [r.event.state.to for r in self.client.call("WatchJob", id=job.id, from_seq=1, follow=True)
                  if r.event.HasField("state")]
        succeeded = self.client.pool.FindEnumTypeByName("editd.v1.JobState").values_by_name["JOB_STATE_SUCCEEDED"].number
        self.assertEqual(states[-1], succeeded)
        done = self.client.call("GetJob", id=job.id).job
        self.assertEqual(done.state, succeeded)
        self.assertIn("từ xa".encode(), done.result.value)
        again = self.client.call("Submit", spec={"plugin": "noop", "params": {"type_url": params.type_url, "value": params.value}},
                                 request_id="foreign-1").job
        self.assertEqual(again.id, job.id)

    def test_an_error_is_a_status_with_a_sentence(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.call("GetJob", id=999_999)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        self.assertIn("999999", caught.exception.details())


if __name__ == "__main__":
    unittest.main()
