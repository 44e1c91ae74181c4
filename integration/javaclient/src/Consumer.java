import java.time.Duration;
import java.util.Arrays;
import java.util.Collection;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/**
 * Consumes topics as a member of a group until standard input ends, then leaves the group in order. One event per
 * record, per change of assignment, per commit that the program asked for, and per exception.
 *
 * Arguments: topics (comma separated), commit (auto; sync or async: after every poll that returned records), and
 * config.* with the client's settings.
 */
public final class Consumer {
    public static void main(String[] argv) throws Exception {
        Map<String, String> args = Lines.arguments(argv);
        Properties settings = Lines.settings(args);
        settings.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        settings.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        String commit = args.getOrDefault("commit", "auto");
        if (!commit.equals("auto")) settings.put("enable.auto.commit", "false");

        Lines lines = new Lines();
        AtomicBoolean stop = new AtomicBoolean();
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings);
        Lines.onEndOfInput(() -> {
            stop.set(true);
            consumer.wakeup();
        });
        consumer.subscribe(Arrays.asList(args.get("topics").split(",")), new ConsumerRebalanceListener() {
            @Override public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                lines.event("assigned", "partitions", join(partitions));
            }
            @Override public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                lines.event("revoked", "partitions", join(partitions));
            }
            @Override public void onPartitionsLost(Collection<TopicPartition> partitions) {
                lines.event("lost", "partitions", join(partitions));
            }
        });
        lines.event("ready");
        long n = 0;
        int failures = 0;
        while (!stop.get()) {
            try {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                for (ConsumerRecord<String, String> r : records) {
                    lines.event("record", "topic", r.topic(), "partition", r.partition(), "offset", r.offset(), "timestamp", r.timestamp(),
                        "key", r.key(), "value", r.value());
                    n++;
                }
                if (!records.isEmpty()) commit(consumer, commit, records, lines);
                failures = 0;
            } catch (WakeupException e) {
                // stop is set
            } catch (Exception e) {
                lines.error("poll or commit", e);
                if (++failures >= 20) break; // a fatal state repeats itself for ever
                Thread.sleep(100);
            }
        }
        try {
            consumer.close();
        } catch (Exception e) {
            lines.error("close", e);
        }
        lines.event("done", "count", n);
        lines.close();
    }

    private static void commit(KafkaConsumer<String, String> consumer, String how, ConsumerRecords<String, String> records, Lines lines) {
        if (how.equals("sync")) {
            consumer.commitSync();
            for (TopicPartition tp : records.partitions()) { // the position is what was committed
                lines.event("committed", "topic", tp.topic(), "partition", tp.partition(), "offset", consumer.position(tp));
            }
        } else if (how.equals("async")) {
            consumer.commitAsync((Map<TopicPartition, OffsetAndMetadata> offsets, Exception e) -> {
                if (e != null) {
                    lines.error("asynchronous commit", e);
                    return;
                }
                offsets.forEach((tp, o) -> lines.event("committed", "topic", tp.topic(), "partition", tp.partition(), "offset", o.offset()));
            });
        }
    }

    private static String join(Collection<TopicPartition> partitions) {
        return partitions.stream().map(TopicPartition::toString).sorted().collect(Collectors.joining(","));
    }
}
