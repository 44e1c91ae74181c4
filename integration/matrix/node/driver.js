// Drives kafkajs, idempotent, otherwise its defaults, by the matrix's line protocol (integration/matrix says what that
// is). Argument: bootstrap.
const readline = require('readline')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')

// kafkajs brings gzip only; these are the plug-ins that its documentation asks for.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
const zstd = require('@bokuweb/zstd-wasm')
const zstdReady = zstd.init()
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => (await zstdReady, Buffer.from(zstd.compress(encoder.buffer))),
  decompress: async buffer => (await zstdReady, Buffer.from(zstd.decompress(buffer))),
})
const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'
const kafka = new Kafka({
  brokers: [process.argv[2]],
  logLevel: logLevel.WARN,
  logCreator: () => entry => process.stderr.write(`${new Date().toISOString()} ${entry.namespace} ${JSON.stringify(entry.log)}\n`),
})

const emit = event => process.stdout.write(JSON.stringify(event) + '\n')
const trouble = (name, e) => emit({ trouble: e instanceof Error ? `${e.name}: ${e.message}` : String(e), name })
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const within = (ms, promise, what) =>
  Promise.race([promise, sleep(ms).then(() => Promise.reject(new Error(`${what}: not within ${ms} ms`)))])

async function withAdmin(use) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}

const ops = {
  create: a => withAdmin(adm => adm.createTopics({ topics: [{ topic: a.topic, numPartitions: +a.partitions, replicationFactor: 1 }] })).then(() => ({})),
  delete: a => withAdmin(adm => adm.deleteTopics({ topics: [a.topic] })).then(() => ({})),
  topics: () => withAdmin(async adm => {
    const { topics } = await adm.fetchTopicMetadata()
    return { topics: Object.fromEntries(topics.map(t => [t.name, t.partitions.length])) }
  }),

  // send() answers one base offset for each partition: five records of one key each make the offsets of all known.
  async produce(a, stop) {
    const producer = kafka.producer({ idempotent: true })
    await producer.connect()
    const began = Date.now()
    let sent = 0
    while (sent < +a.count && !stop.set) {
      const messages = []
      do {
        const i = +a.first + sent++
        messages.push({ key: `k${Math.floor(i / 5) % +a.keys}`, value: `${a.name}-${i}`, timestamp: String(+a.timestamp + 10 * i) })
      } while (sent < +a.count && (+a.first + sent) % 5 !== 0)
      try {
        const answer = await producer.send({ topic: a.topic, messages, compression: codecs[a.codec] })
        messages.forEach((m, n) => emit({ ack: m.value, p: answer[0].partition, o: Number(answer[0].baseOffset) + n }))
      } catch (e) {
        trouble(a.name, e)
      }
      if (+a.rate > 0) await sleep(began + (1000 * sent) / +a.rate - Date.now())
    }
    await producer.disconnect()
    return { sent }
  },

  async consume(a, stop) {
    const consumer = kafka.consumer({ groupId: a.group })
    consumer.on(consumer.events.CRASH, ({ payload }) => trouble(a.name, payload.error))
    await consumer.connect()
    await consumer.subscribe({ topics: [a.topic], fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary, heartbeat }) => {
        for (const m of batch.messages) {
          emit({ got: m.value.toString(), name: a.name, p: batch.partition, o: Number(m.offset) })
          resolveOffset(m.offset)
        }
        // An error here is the library's to handle: in a rebalance it joins again. (consumer.commitOffsets() would wrap it
        // into one that the library does not know again, and the consumer crashes in any rebalance.)
        await commitOffsetsIfNecessary({
          topics: [{ topic: batch.topic, partitions: [{ partition: batch.partition, offset: String(Number(batch.lastOffset()) + 1) }] }],
        })
        await heartbeat()
      },
    })
    await stop.promise
    await consumer.disconnect()
    return {}
  },

  // kafkajs can seek in a group only.
  async read(a) {
    let start = a.offset
    if (a.at) {
      const found = await withAdmin(adm => adm.fetchTopicOffsetsByTimestamp(a.topic, +a.at))
      start = found.find(p => p.partition === +a.partition).offset
    }
    const consumer = kafka.consumer({ groupId: `${a.topic}-read-${a.id}` })
    await consumer.connect()
    await consumer.subscribe({ topics: [a.topic], fromBeginning: true })
    const seen = []
    try {
      await within(60000, new Promise((resolve, reject) => {
        let sought = false
        consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
        consumer.run({
          autoCommit: false,
          eachMessage: async ({ partition, message }) => {
            if (partition !== +a.partition || (!sought && message.offset !== start)) return
            sought = true
            if (seen.length < +a.count) seen.push(message)
            if (seen.length === +a.count) resolve()
          },
        }).catch(reject)
        consumer.seek({ topic: a.topic, partition: +a.partition, offset: start })
      }), 'read')
    } finally {
      await consumer.disconnect()
    }
    return { first: Number(seen[0].offset), values: seen.map(m => m.value.toString()) }
  },

  offsets: a => withAdmin(async adm => {
    const p = (await adm.fetchTopicOffsets(a.topic)).find(p => p.partition === +a.partition)
    return { earliest: Number(p.low), latest: Number(p.high) }
  }),

  delete_records: a => withAdmin(async adm => {
    await adm.fetchTopicOffsets(a.topic) // loads the metadata that deleteTopicRecords takes for granted
    await adm.deleteTopicRecords({ topic: a.topic, partitions: [{ partition: +a.partition, offset: a.offset }] })
    return {}
  }),

  async stop(a) {
    const { stop, done } = running.get(a.name)
    stop.set = true
    stop.resolve()
    await done
    return {}
  },
}

const running = new Map()
let pending = 0
let ended = false
const exitWhenIdle = () => { if (ended && pending === 0) process.exit(0) }

emit({ ready: 'kafkajs', version: require('kafkajs/package.json').version })
readline.createInterface({ input: process.stdin }).on('line', line => {
  const a = Object.fromEntries(line.trim().split(' ').map(w => [w.slice(0, w.indexOf('=')), w.slice(w.indexOf('=') + 1)]))
  const stop = { set: false }
  stop.promise = new Promise(resolve => { stop.resolve = resolve })
  pending++
  const done = ops[a.op](a, stop).then(
    ok => emit({ id: +a.id, ok: ok || {} }),
    e => emit({ id: +a.id, error: `${e.name}: ${e.message}` }),
  ).finally(() => { pending--; exitWhenIdle() })
  if (a.op === 'produce' || a.op === 'consume') running.set(a.name, { stop, done })
}).on('close', () => { ended = true; exitWhenIdle() })
