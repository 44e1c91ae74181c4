import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * Drives kafka-clients of any version since 2.8 by the matrix's line protocol (integration/matrix says what that is).
 * Settings are the library's defaults, but for idempotence, which 2.8 has to be asked for. Argument: bootstrap.
 */
public final class Driver {
    private interface Operation { String run(Map<String, String> args, CountDownLatch stop) throws Exception; }

    private record Running(CountDownLatch stop, CountDownLatch done) { }

    private static final long PATIENCE_MS = 60_000;
    private static final Map<String, Running> running = new ConcurrentHashMap<>();
    private static String bootstrap;

    public static void main(String[] argv) throws Exception {
        bootstrap = argv[0];
        Map<String, Operation> ops = Map.of("create", Driver::create, "delete", Driver::delete, "topics", Driver::topics,
            "produce", Driver::produce, "consume", Driver::consume, "read", Driver::read, "offsets", Driver::offsets,
            "delete_records", Driver::deleteRecords, "stop", Driver::stop);
        emit("{\"ready\":\"kafka-clients\",\"version\":" + quote(AppInfoParser.getVersion()) + "}");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        List<Thread> threads = new ArrayList<>();
        for (String line; (line = in.readLine()) != null; ) {
            Map<String, String> args = new HashMap<>();
            for (String word : line.trim().split(" ")) args.put(word.substring(0, word.indexOf('=')), word.substring(word.indexOf('=') + 1));
            Running me = new Running(new CountDownLatch(1), new CountDownLatch(1));
            if (args.get("op").equals("produce") || args.get("op").equals("consume")) running.put(args.get("name"), me);
            Thread t = new Thread(() -> {
                String event;
                try {
                    event = "\"ok\":" + ops.get(args.get("op")).run(args, me.stop);
                } catch (Throwable e) {
                    event = "\"error\":" + quote(describe(e));
                }
                me.done.countDown();
                emit("{\"id\":" + args.get("id") + "," + event + "}");
            });
            t.start();
            threads.add(t);
        }
        for (Thread t : threads) t.join();
    }

    private static String stop(Map<String, String> a, CountDownLatch stop) throws Exception {
        Running r = running.get(a.get("name"));
        r.stop.countDown();
        r.done.await();
        return "{}";
    }

    private static Properties settings() {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        return p;
    }

    private static String create(Map<String, String> a, CountDownLatch stop) throws Exception {
        try (Admin admin = Admin.create(settings())) {
            admin.createTopics(List.of(new NewTopic(a.get("topic"), Integer.parseInt(a.get("partitions")), (short) 1))).all().get();
        }
        return "{}";
    }

    private static String delete(Map<String, String> a, CountDownLatch stop) throws Exception {
        try (Admin admin = Admin.create(settings())) {
            admin.deleteTopics(List.of(a.get("topic"))).all().get();
        }
        return "{}";
    }

    private static String topics(Map<String, String> a, CountDownLatch stop) {
        try (KafkaConsumer<String, String> c = consumer(settings())) {
            return "{\"topics\":{" + c.listTopics().entrySet().stream().map(e -> quote(e.getKey()) + ":" + e.getValue().size())
                .collect(Collectors.joining(",")) + "}}";
        }
    }

    private static String produce(Map<String, String> a, CountDownLatch stop) throws Exception {
        Properties p = settings();
        p.put("enable.idempotence", "true");
        p.put("acks", "all");
        p.put("compression.type", a.get("codec"));
        p.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        String name = a.get("name");
        long first = number(a, "first"), count = number(a, "count"), rate = number(a, "rate"), keys = number(a, "keys");
        long began = System.nanoTime(), sent = 0;
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(p)) {
            for (long i = first; i < first + count; i++) {
                if (rate > 0) stop.await(began + (i - first) * 1_000_000_000L / rate - System.nanoTime(), TimeUnit.NANOSECONDS);
                if (stop.getCount() == 0) break;
                String value = name + "-" + i;
                producer.send(new ProducerRecord<>(a.get("topic"), null, number(a, "timestamp") + 10 * i, "k" + i / 5 % keys, value), (m, e) -> {
                    if (e != null) trouble(name, value, e);
                    else emit("{\"ack\":" + quote(value) + ",\"p\":" + m.partition() + ",\"o\":" + m.offset() + "}");
                });
                sent++;
            }
        }
        return "{\"sent\":" + sent + "}";
    }

    private static KafkaConsumer<String, String> consumer(Properties p) {
        p.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        p.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        p.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(p);
    }

    private static String consume(Map<String, String> a, CountDownLatch stop) throws Exception {
        String name = a.get("name");
        Properties p = settings();
        p.put("group.id", a.get("group"));
        p.put("auto.offset.reset", "earliest");
        try (KafkaConsumer<String, String> c = consumer(p)) {
            c.subscribe(List.of(a.get("topic")), new ConsumerRebalanceListener() {
                @Override public void onPartitionsAssigned(Collection<TopicPartition> partitions) { }
                @Override public void onPartitionsRevoked(Collection<TopicPartition> partitions) { }
                @Override public void onPartitionsLost(Collection<TopicPartition> lost) {
                    trouble(name, "partitions lost", new Exception(lost.toString()));
                }
            });
            while (stop.getCount() > 0) {
                try {
                    ConsumerRecords<String, String> records = c.poll(Duration.ofMillis(200));
                    for (ConsumerRecord<String, String> r : records)
                        emit("{\"got\":" + quote(r.value()) + ",\"name\":" + quote(name) + ",\"p\":" + r.partition() + ",\"o\":" + r.offset() + "}");
                    if (!records.isEmpty()) c.commitSync();
                } catch (Exception e) {
                    trouble(name, "poll or commit", e);
                    Thread.sleep(100);
                }
            }
        }
        return "{}";
    }

    private static String read(Map<String, String> a, CountDownLatch stop) {
        TopicPartition tp = new TopicPartition(a.get("topic"), (int) number(a, "partition"));
        long count = number(a, "count"), deadline = System.currentTimeMillis() + PATIENCE_MS;
        try (KafkaConsumer<String, String> c = consumer(settings())) {
            c.assign(List.of(tp));
            c.seek(tp, a.containsKey("at") ? c.offsetsForTimes(Map.of(tp, number(a, "at"))).get(tp).offset() : number(a, "offset"));
            List<ConsumerRecord<String, String>> got = new ArrayList<>();
            while (got.size() < count) {
                if (System.currentTimeMillis() > deadline) throw new IllegalStateException("only " + got.size() + " records within " + PATIENCE_MS + " ms");
                c.poll(Duration.ofMillis(200)).forEach(got::add);
            }
            return "{\"first\":" + got.get(0).offset() + ",\"values\":["
                + got.stream().limit(count).map(r -> quote(r.value())).collect(Collectors.joining(",")) + "]}";
        }
    }

    private static String offsets(Map<String, String> a, CountDownLatch stop) {
        TopicPartition tp = new TopicPartition(a.get("topic"), (int) number(a, "partition"));
        try (KafkaConsumer<String, String> c = consumer(settings())) {
            return "{\"earliest\":" + c.beginningOffsets(Collections.singleton(tp)).get(tp) + ",\"latest\":" + c.endOffsets(Collections.singleton(tp)).get(tp) + "}";
        }
    }

    private static String deleteRecords(Map<String, String> a, CountDownLatch stop) throws Exception {
        TopicPartition tp = new TopicPartition(a.get("topic"), (int) number(a, "partition"));
        try (Admin admin = Admin.create(settings())) {
            admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(number(a, "offset")))).all().get();
        }
        return "{}";
    }

    private static long number(Map<String, String> a, String key) { return Long.parseLong(a.get(key)); }

    private static synchronized void emit(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static void trouble(String name, String doing, Throwable e) {
        emit("{\"trouble\":" + quote(doing + ": " + describe(e)) + ",\"name\":" + quote(name) + "}");
    }

    private static String describe(Throwable e) {
        StringBuilder text = new StringBuilder();
        for (Throwable t = e; t != null; t = t.getCause()) text.append(t == e ? "" : "; caused by ").append(t.getClass().getSimpleName()).append(": ").append(t.getMessage());
        return text.toString();
    }

    private static String quote(String s) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }
}
