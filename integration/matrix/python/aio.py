"""Drives aiokafka, idempotent, otherwise its defaults. Argument: bootstrap."""
import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import for_code

import lines

bootstrap = sys.argv[1]


def operation(f):
    """Runs a coroutine in an event loop of the calling thread's own."""

    def run(a, stop):
        return asyncio.run(f(a, stop))

    run.__name__ = f.__name__
    return run


async def with_admin(do):
    adm = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await adm.start()
    try:
        return await do(adm)
    finally:
        await adm.close()


def refuse_errors(resp):
    """aiokafka's admin client hands out answers as they came, errors inside."""
    for topic in resp.topic_errors if hasattr(resp, "topic_errors") else resp.topic_error_codes:
        if topic[1]:
            raise for_code(topic[1])(topic)


@operation
async def create(a, stop):
    refuse_errors(await with_admin(lambda adm: adm.create_topics([NewTopic(a["topic"], a.int("partitions"), 1)])))


@operation
async def delete(a, stop):
    refuse_errors(await with_admin(lambda adm: adm.delete_topics([a["topic"]])))


@operation
async def topics(a, stop):
    return {"topics": {t["topic"]: len(t["partitions"]) for t in await with_admin(lambda adm: adm.describe_topics())}}


@operation
async def produce(a, stop):
    codec = None if a["codec"] == "none" else a["codec"]
    p = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, enable_idempotence=True)
    await p.start()
    futures = []

    def delivered(f, value):
        if f.exception() is not None:
            lines.trouble(a["name"], f"{value.decode()}: {type(f.exception()).__name__}: {f.exception()}")
        else:
            lines.acked(value, f.result().partition, f.result().offset)

    # The generator waits; a thread does that, so that the event loop can go on.
    records, end = a.records(stop), object()
    while (record := await asyncio.to_thread(next, records, end)) is not end:
        value, key, ts = record
        f = await p.send(a["topic"], value, key, timestamp_ms=ts)
        f.add_done_callback(lambda f, value=value: delivered(f, value))
        futures.append(f)
    await p.flush()
    await asyncio.gather(*futures, return_exceptions=True)
    await p.stop()
    return {"sent": len(futures)}


@operation
async def consume(a, stop):
    c = AIOKafkaConsumer(a["topic"], bootstrap_servers=bootstrap, group_id=a["group"], auto_offset_reset="earliest", enable_auto_commit=False)
    await c.start()
    while not stop.is_set():
        try:
            batch = await c.getmany(timeout_ms=200)
            for records in batch.values():
                for r in records:
                    lines.got(a["name"], r.value, r.partition, r.offset)
            if batch:
                await c.commit()
        except Exception as e:
            lines.trouble(a["name"], e)
            await asyncio.sleep(0.1)
    await c.stop()


async def with_consumer(a, do):
    tp = TopicPartition(a["topic"], a.int("partition"))
    c = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await c.start()
    try:
        c.assign([tp])
        return await do(c, tp)
    finally:
        await c.stop()


@operation
async def read(a, stop):
    async def do(c, tp):
        start = (await c.offsets_for_times({tp: a.int("at")}))[tp].offset if "at" in a else a.int("offset")
        c.seek(tp, start)
        got = [await asyncio.wait_for(c.getone(), 30) for _ in range(a.int("count"))]
        return {"first": got[0].offset, "values": [lines.text(r.value) for r in got]}

    return await with_consumer(a, do)


@operation
async def offsets(a, stop):
    async def do(c, tp):
        return {"earliest": (await c.beginning_offsets([tp]))[tp], "latest": (await c.end_offsets([tp]))[tp]}

    return await with_consumer(a, do)


@operation
async def delete_records(a, stop):
    tp = TopicPartition(a["topic"], a.int("partition"))
    await with_admin(lambda adm: adm.delete_records({tp: RecordsToDelete(before_offset=a.int("offset"))}))


lines.serve("aiokafka", {f.__name__: f for f in (create, delete, topics, produce, consume, read, offsets, delete_records)})
