import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * What both programs share: arguments of the form key=value, events as one line of JSON each on standard output, and
 * the wish to stop, which is the end of standard input (so that a program never outlives its test).
 *
 * Lines are written by a thread of their own: a callback of the client must not wait for a pipe.
 */
final class Lines {
    private static final String END = new String("end");
    private final LinkedBlockingQueue<String> queue = new LinkedBlockingQueue<>();
    private final Thread writer = new Thread(this::write, "lines");

    Lines() {
        writer.start();
    }

    private void write() {
        try (BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8))) {
            for (;;) {
                String line = queue.poll();
                if (line == null) {
                    out.flush(); // only when there is nothing more to write
                    line = queue.take();
                }
                if (line == END) return;
                out.write(line);
                out.write('\n');
            }
        } catch (IOException | InterruptedException e) {
            System.err.println("standard output is gone: " + e);
            Runtime.getRuntime().halt(3);
        }
    }

    /** Writes {"kind": kind, "at": now in microseconds, name: value, ...}. */
    void event(String kind, Object... namesAndValues) {
        java.time.Instant now = java.time.Instant.now();
        StringBuilder line = new StringBuilder(160);
        line.append("{\"kind\":\"").append(kind).append("\",\"at\":")
            .append(now.getEpochSecond() * 1_000_000 + now.getNano() / 1000);
        for (int i = 0; i < namesAndValues.length; i += 2) {
            Object value = namesAndValues[i + 1];
            if (value == null) continue;
            line.append(",\"").append(namesAndValues[i]).append("\":");
            if (value instanceof Number) line.append(value);
            else quote(line, value.toString());
        }
        queue.add(line.append('}').toString());
    }

    /** An error as the client's user sees it: the class names and messages of all causes. */
    void error(String doing, Throwable e, Object... namesAndValues) {
        StringBuilder text = new StringBuilder(doing).append(": ");
        for (Throwable t = e; t != null; t = t.getCause()) {
            if (t != e) text.append("; caused by ");
            text.append(t.getClass().getSimpleName()).append(": ").append(t.getMessage());
        }
        Object[] all = java.util.Arrays.copyOf(namesAndValues, namesAndValues.length + 2);
        all[namesAndValues.length] = "error";
        all[namesAndValues.length + 1] = text.toString();
        event("error", all);
    }

    void close() throws InterruptedException {
        queue.add(END);
        writer.join();
    }

    private static void quote(StringBuilder out, String s) {
        out.append('"');
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        out.append('"');
    }

    static Map<String, String> arguments(String[] args) {
        Map<String, String> parsed = new HashMap<>();
        for (String arg : args) {
            int eq = arg.indexOf('=');
            if (eq < 0) throw new IllegalArgumentException("argument " + arg + " is not of the form key=value");
            parsed.put(arg.substring(0, eq), arg.substring(eq + 1));
        }
        return parsed;
    }

    /** The client's settings: arguments called config.x become x. */
    static Properties settings(Map<String, String> args) {
        Properties settings = new Properties();
        args.forEach((key, value) -> {
            if (key.startsWith("config.")) settings.put(key.substring("config.".length()), value);
        });
        return settings;
    }

    /** Runs stop when standard input ends. */
    static void onEndOfInput(Runnable stop) {
        Thread reader = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (IOException e) {
                // the end, too
            }
            stop.run();
        }, "stdin");
        reader.setDaemon(true);
        reader.start();
    }
}
