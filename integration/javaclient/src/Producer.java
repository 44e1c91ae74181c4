import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Sends records with values prefix + 0, prefix + 1, ... at a steady rate until count is reached, seconds have passed or
 * standard input ends; then waits for everything that is under way. One event per record: "ack" or "error".
 *
 * Arguments: topic, prefix, rate (records per second), count and seconds (0: no limit), keys (0: no key; n: n different
 * keys in turn), size (values are padded to it), and config.* with the client's settings.
 */
public final class Producer {
    public static void main(String[] argv) throws Exception {
        Map<String, String> args = Lines.arguments(argv);
        Properties settings = Lines.settings(args);
        settings.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        settings.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        String topic = args.get("topic");
        String prefix = args.getOrDefault("prefix", "");
        double rate = Double.parseDouble(args.getOrDefault("rate", "1000"));
        long count = Long.parseLong(args.getOrDefault("count", "0"));
        double seconds = Double.parseDouble(args.getOrDefault("seconds", "0"));
        int keys = Integer.parseInt(args.getOrDefault("keys", "0"));
        int size = Integer.parseInt(args.getOrDefault("size", "0"));

        Lines lines = new Lines();
        AtomicBoolean stop = new AtomicBoolean();
        Thread main = Thread.currentThread();
        Lines.onEndOfInput(() -> {
            stop.set(true);
            LockSupport.unpark(main);
        });
        KafkaProducer<String, String> producer = new KafkaProducer<>(settings);
        lines.event("ready");
        long began = System.nanoTime();
        long n = 0;
        while (!stop.get() && (count == 0 || n < count)) {
            long due = began + (long) (n * 1e9 / rate);
            long now = System.nanoTime();
            if (seconds > 0 && now - began > seconds * 1e9) break;
            if (due > now) {
                LockSupport.parkNanos(Math.min(due - now, TimeUnit.MILLISECONDS.toNanos(100)));
                continue;
            }
            String value = pad(prefix + n, size);
            String key = keys > 0 ? "k" + n % keys : null;
            n++;
            try {
                producer.send(new ProducerRecord<>(topic, key, value), (metadata, e) -> {
                    if (e == null) {
                        lines.event("ack", "topic", metadata.topic(), "partition", metadata.partition(), "offset", metadata.offset(),
                            "timestamp", metadata.timestamp(), "key", key, "value", value);
                    } else {
                        lines.error("produce", e, "topic", topic, "key", key, "value", value);
                    }
                });
            } catch (Exception e) { // a send that fails at once (fatal state, full buffer) does not always call back
                lines.error("send", e, "topic", topic, "key", key, "value", value);
            }
        }
        try {
            producer.close();
        } catch (Exception e) {
            lines.error("close", e);
        }
        lines.event("done", "count", n);
        lines.close();
    }

    private static String pad(String value, int size) {
        if (value.length() >= size) return value;
        StringBuilder padded = new StringBuilder(value).append(' ');
        while (padded.length() < size) padded.append('.');
        return padded.toString();
    }
}
