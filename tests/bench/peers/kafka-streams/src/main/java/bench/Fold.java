package bench;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.LocalDate;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.util.Utf8;
import org.apache.kafka.streams.processor.Cancellable;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** Folds the listens of one partition into profiles and cells. */
final class Fold implements Processor<String, Listen, String, byte[]> {
    static final String TASTES = "tastes";
    static final String CELLS = "cells";
    static final String TO_PROFILES = "to-profiles";
    static final String TO_CELLS = "to-cells";

    private static final Duration LOOK_EVERY = Duration.ofMillis(20);
    private static final long DAY_S = 86_400;

    private final Duration emitEvery;
    private final Run run;
    /** What has changed since the last emission, as the store has it. */
    private final Map<String, Taste> changed = new HashMap<>();

    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, Taste> tastes;
    private KeyValueStore<String, Long> cells;
    private Cancellable looking;

    Fold(Duration emitEvery, Run run) {
        this.emitEvery = emitEvery;
        this.run = run;
    }

    @Override
    public void init(ProcessorContext<String, byte[]> context) {
        this.context = context;
        tastes = context.getStateStore(TASTES);
        cells = context.getStateStore(CELLS);
        // Nobody remembers which of the restored profiles went out, so all do.
        try (var restored = tastes.all()) {
            restored.forEachRemaining(each -> changed.put(each.key, each.value));
        }
        context.schedule(emitEvery, PunctuationType.WALL_CLOCK_TIME, this::emit);
        looking = context.schedule(LOOK_EVERY, PunctuationType.WALL_CLOCK_TIME, this::look);
        run.open(context.taskId());
    }

    @Override
    public void process(Record<String, Listen> record) {
        Listen listen = record.value();
        foldTaste(record.key(), listen);
        foldCells(listen);
        run.folded();
    }

    @Override
    public void close() {
        run.close(context.taskId());
    }

    private void foldTaste(String listener, Listen listen) {
        Taste taste = changed.get(listener);
        if (taste == null) {
            taste = tastes.get(listener);
            if (taste == null) {
                taste = new Taste();
            }
            changed.put(listener, taste);
        }
        taste.add(listen);
        tastes.put(listener, taste);
    }

    private void foldCells(Listen listen) {
        LocalDate day = LocalDate.ofEpochDay(Math.floorDiv(listen.minute(), DAY_S));
        String where = day + "|" + listen.country() + "|";
        for (Utf8 genre : listen.genres()) {
            String cell = where + genre;
            Long count = cells.get(cell);
            cells.put(cell, count == null ? 1 : count + 1);
        }
    }

    private void emit(long now) {
        changed.forEach((listener, taste) ->
                context.forward(new Record<>(listener, Profile.json(taste), now), TO_PROFILES));
        changed.clear();
    }

    /** Looks whether all plays are folded, by whichever task, and then sends what is left. */
    private void look(long now) {
        if (!run.complete()) {
            return;
        }
        looking.cancel();
        emit(now);
        try (var counted = cells.all()) {
            counted.forEachRemaining(each -> run.add(each.key, each.value));
        }
        run.close(context.taskId());
        if (run.closed()) {
            run.cells().forEach((cell, count) -> context.forward(
                    new Record<>(cell, count.toString().getBytes(StandardCharsets.UTF_8), now),
                    TO_CELLS));
            run.finish();
        }
    }
}
