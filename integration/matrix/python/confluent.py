"""Drives confluent-kafka, which is librdkafka: idempotent, otherwise its defaults. Argument: bootstrap."""
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import lines

bootstrap = sys.argv[1]


def settings(name, **more):
    # error_cb is how librdkafka tells an application of everything that it did not recover from silently.
    return {"bootstrap.servers": bootstrap, "error_cb": lambda e: lines.trouble(name, f"error_cb: {e}"), **more}


def create(a, stop):
    adm = AdminClient(settings("admin"))  # a name of its own: collected, it would cancel what it was asked
    for f in adm.create_topics([NewTopic(a["topic"], a.int("partitions"), 1)]).values():
        f.result(60)


def delete(a, stop):
    adm = AdminClient(settings("admin"))
    for f in adm.delete_topics([a["topic"]]).values():
        f.result(60)


def topics(a, stop):
    return {"topics": {name: len(t.partitions) for name, t in AdminClient(settings("admin")).list_topics(timeout=60).topics.items()}}


def produce(a, stop):
    p = Producer(settings(a["name"], **{"enable.idempotence": True, "compression.type": a["codec"]}))

    def delivered(err, msg):
        if err is not None:
            lines.trouble(a["name"], f"{lines.text(msg.value())}: {err}")
        else:
            lines.acked(msg.value(), msg.partition(), msg.offset())

    sent = 0
    for value, key, ts in a.records(stop):
        p.produce(a["topic"], value, key, timestamp=ts, on_delivery=delivered)
        p.poll(0)
        sent += 1
    left = p.flush(60)
    if left:
        raise TimeoutError(f"{left} records were not delivered within 60 s")
    return {"sent": sent}


def consume(a, stop):
    c = Consumer(settings(a["name"], **{"group.id": a["group"], "auto.offset.reset": "earliest", "enable.auto.commit": False}))
    c.subscribe([a["topic"]], on_lost=lambda _, lost: lines.trouble(a["name"], f"partitions lost: {lost}"))
    while not stop.is_set():
        ok = False
        for m in c.consume(100, 0.2):
            if m.error():
                lines.trouble(a["name"], f"message: {m.error()}")
                continue
            lines.got(a["name"], m.value(), m.partition(), m.offset())
            ok = True
        if ok:
            try:
                c.commit(asynchronous=False)
            except KafkaException as e:
                lines.trouble(a["name"], f"commit: {e}")
    c.close()


def read(a, stop):
    c = Consumer(settings("read", **{"group.id": "none", "enable.auto.commit": False}))
    tp = TopicPartition(a["topic"], a.int("partition"))
    if "at" in a:
        tp.offset = a.int("at")
        tp = c.offsets_for_times([tp], timeout=60)[0]
        if tp.error:
            raise KafkaException(tp.error)
    else:
        tp.offset = a.int("offset")
    c.assign([tp])
    got = []
    while len(got) < a.int("count"):
        m = c.poll(60)
        if m is None:
            raise TimeoutError(f"nothing within 60 s after {len(got)} records")
        if m.error():
            raise KafkaException(m.error())
        got.append(m)
    c.close()
    return {"first": got[0].offset(), "values": [lines.text(m.value()) for m in got]}


def offsets(a, stop):
    c = Consumer(settings("offsets", **{"group.id": "none"}))
    low, high = c.get_watermark_offsets(TopicPartition(a["topic"], a.int("partition")), timeout=60)
    c.close()
    return {"earliest": low, "latest": high}


def delete_records(a, stop):
    adm = AdminClient(settings("admin"))
    for f in adm.delete_records([TopicPartition(a["topic"], a.int("partition"), a.int("offset"))]).values():
        f.result(60)


lines.serve("confluent-kafka", {f.__name__: f for f in (create, delete, topics, produce, consume, read, offsets, delete_records)})
