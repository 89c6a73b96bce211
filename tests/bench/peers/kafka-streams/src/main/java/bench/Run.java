package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.sun.management.OperatingSystemMXBean;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.streams.processor.TaskId;

/**
 * One measured run: how far all tasks are together, and what it took.
 *
 * <p>The one stream thread owns it until {@link #await} returns.
 */
final class Run {
    private static final OperatingSystemMXBean SYSTEM =
            ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
    private static final Path STATUS = Path.of("/proc/self/status");

    private final long events;
    private final Set<TaskId> open = new HashSet<>();
    private final Map<String, Long> cells = new HashMap<>();
    private final CompletableFuture<Void> done = new CompletableFuture<>();
    private long folded;
    private boolean begun;
    private long beganNs;
    private long beganCpuNs;

    Run(long events) {
        this.events = events;
    }

    /** A task begins to take listens. */
    void open(TaskId task) {
        open.add(task);
    }

    /** A task takes no more listens: it has sent all it has, or is taken away. */
    void close(TaskId task) {
        open.remove(task);
    }

    /** A play is in hand; the first one starts the clocks. */
    void begin() {
        if (!begun) {
            begun = true;
            beganNs = System.nanoTime();
            beganCpuNs = SYSTEM.getProcessCpuTime();
        }
    }

    /** A listen is folded. */
    void folded() {
        folded++;
    }

    /** Whether all plays have been folded. */
    boolean complete() {
        return folded >= events;
    }

    /** Adds the count of a cell in one task. */
    void add(String cell, long count) {
        cells.merge(cell, count, Long::sum);
    }

    /** Whether no task is left that takes listens. */
    boolean closed() {
        return open.isEmpty();
    }

    /** All cells, summed over the tasks. */
    Map<String, Long> cells() {
        return cells;
    }

    /** All output has been handed to the producer. */
    void finish() {
        done.complete(null);
    }

    /** The stream thread cannot go on. */
    void fail(Throwable error) {
        done.completeExceptionally(error);
    }

    /** Waits for {@link #finish}; raises what {@link #fail} was given. */
    void await() throws ExecutionException, InterruptedException {
        done.get();
    }

    /** What was measured up to now, as JSON. */
    byte[] result(String guarantee) throws IOException {
        double seconds = (System.nanoTime() - beganNs) / 1e9;
        double cpu = (SYSTEM.getProcessCpuTime() - beganCpuNs) / 1e9;
        var bytes = new ByteArrayOutputStream();
        try (var json = new JsonFactory().createGenerator(bytes)) {
            json.writeStartObject();
            json.writeNumberField("events", folded);
            json.writeNumberField("seconds", seconds);
            json.writeNumberField("cpu_s", cpu);
            json.writeNumberField("peak_rss_mb", peakKilobytes() / 1024.0);
            json.writeStringField("guarantee", guarantee);
            json.writeEndObject();
        }
        return bytes.toByteArray();
    }

    private static long peakKilobytes() throws IOException {
        String line = Files.readAllLines(STATUS).stream()
                .filter(each -> each.startsWith("VmHWM:"))
                .findFirst()
                .orElseThrow();
        return Long.parseLong(line.replaceAll("\\D", ""));
    }
}
