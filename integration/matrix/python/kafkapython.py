"""Drives kafka-python with its defaults. Argument: bootstrap."""
import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

import lines

bootstrap = sys.argv[1]


def with_admin(do):
    adm = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        return do(adm)
    finally:
        adm.close()


def create(a, stop):
    with_admin(lambda adm: adm.create_topics({a["topic"]: {"num_partitions": a.int("partitions"), "replication_factor": 1}}))


def delete(a, stop):
    with_admin(lambda adm: adm.delete_topics([a["topic"]]))


def topics(a, stop):
    return {"topics": {t["name"]: len(t["partitions"]) for t in with_admin(lambda adm: adm.describe_topics())}}


def produce(a, stop):
    codec = None if a["codec"] == "none" else a["codec"]
    p = KafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, enable_idempotence=True)
    sent = 0
    for value, key, ts in a.records(stop):
        f = p.send(a["topic"], value, key, timestamp_ms=ts)
        f.add_callback(lambda md, value=value: lines.acked(value, md.partition, md.offset))
        f.add_errback(lambda e, value=value: lines.trouble(a["name"], f"{value.decode()}: {type(e).__name__}: {e}"))
        sent += 1
    p.flush(60)
    p.close()
    return {"sent": sent}


def consume(a, stop):
    c = KafkaConsumer(a["topic"], bootstrap_servers=bootstrap, group_id=a["group"], auto_offset_reset="earliest", enable_auto_commit=False)
    while not stop.is_set():
        try:
            batch = c.poll(timeout_ms=200)
            for records in batch.values():
                for r in records:
                    lines.got(a["name"], r.value, r.partition, r.offset)
            if batch:
                c.commit()
        except Exception as e:
            lines.trouble(a["name"], e)
            stop.wait(0.1)
    c.close()


def with_consumer(a, do):
    c = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        return do(c, TopicPartition(a["topic"], a.int("partition")))
    finally:
        c.close()


def read(a, stop):
    def do(c, tp):
        c.assign([tp])
        start = c.offsets_for_times({tp: a.int("at")})[tp].offset if "at" in a else a.int("offset")
        c.seek(tp, start)
        got = []
        while len(got) < a.int("count"):
            batch = c.poll(timeout_ms=30_000)
            if not batch:
                raise TimeoutError(f"nothing within 30 s after {len(got)} records")
            got += batch.get(tp, [])
        got = got[: a.int("count")]
        return {"first": got[0].offset, "values": [lines.text(r.value) for r in got]}

    return with_consumer(a, do)


def offsets(a, stop):
    return with_consumer(a, lambda c, tp: {"earliest": c.beginning_offsets([tp])[tp], "latest": c.end_offsets([tp])[tp]})


def delete_records(a, stop):
    with_admin(lambda adm: adm.delete_records({TopicPartition(a["topic"], a.int("partition")): a.int("offset")}))


lines.serve("kafka-python", {f.__name__: f for f in (create, delete, topics, produce, consume, read, offsets, delete_records)})
