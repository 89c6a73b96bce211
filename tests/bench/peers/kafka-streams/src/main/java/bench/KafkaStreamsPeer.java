package bench;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.state.Stores;

/**
 * The peer on the JVM: the benchmark's job with Kafka Streams.
 *
 * <p>Plays are decoded into one reused Avro object, and what is kept of them goes through a
 * repartition topic keyed by listener, as state needs. With {@code --keyed} it does not: that is
 * for plays of which all of a user are in one partition. Profiles and cells are in key-value stores per
 * partition, in memory behind the record cache and backed by changelog topics. Each listen goes
 * through both stores before the next one is taken, hence a commit never covers a listen that the
 * changelog lacks. Profiles go out by a punctuator on the wall clock. One process holds all
 * partitions, so the cells of its tasks are summed there at the end.
 *
 * <p>Guarantee: at least once, with state, output and positions committed as often as profiles are
 * sent, at least every 30 s. Or exactly once ({@code exactly_once_v2}) with {@code --exactly-once},
 * committed every 100 ms, since nothing is read from the repartition topic before. Both intervals
 * are the defaults of Kafka Streams.
 *
 * <p>Settings: one stream thread, since work per core is compared; a cache that holds all that
 * changes between two commits, so the changelog gets each key once per commit; larger polls and
 * batches than the defaults. The JVM's own settings belong to whoever starts it: {@code java
 * -XX:+UseSerialGC -Xmx1g} suits one core.
 *
 * <p>Measured: from the first play in hand until the application has stopped cleanly, which is when
 * everything is acknowledged and committed.
 */
public final class KafkaStreamsPeer {
    private static final Duration AT_LEAST_ONCE_COMMITS = Duration.ofSeconds(30);
    private static final Duration EXACTLY_ONCE_COMMITS = Duration.ofMillis(100);
    private static final Duration STOP = Duration.ofMinutes(5);
    private static final int CACHE_BYTES = 256 << 20;
    private static final int BATCH_BYTES = 256 << 10;
    private static final int POLL_RECORDS = 5_000;
    private static final String FOLD = "fold";
    private static final StringSerializer TEXT = new StringSerializer();
    private static final ByteArraySerializer BYTES = new ByteArraySerializer();
    private static final int ARGUMENTS = 7;
    private static final String KEYED = "--keyed";
    private static final String EXACTLY_ONCE = "--exactly-once";
    private static final String USAGE =
            "BROKERS INPUT PROFILES CELLS RESULT EVENTS EMIT_EVERY_S [--keyed] [--exactly-once]";

    private KafkaStreamsPeer() {}

    public static void main(String[] args) throws Exception {
        List<String> options = List.of(args).subList(Math.min(ARGUMENTS, args.length), args.length);
        if (args.length < ARGUMENTS || !Set.of(KEYED, EXACTLY_ONCE).containsAll(options)) {
            System.err.println("Usage: java -jar kafka-streams-peer.jar " + USAGE);
            System.exit(2);
        }
        boolean exactly = options.contains(EXACTLY_ONCE);
        Path result = Path.of(args[4]).toAbsolutePath();
        Duration emitEvery = Duration.ofMillis(Math.round(Double.parseDouble(args[6]) * 1_000));
        Run run = new Run(Long.parseLong(args[5]));
        Properties settings = settings(args[0], result.getParent(), emitEvery, exactly);
        Topology topology = topology(args[1], options.contains(KEYED), emitEvery, run)
                .addSink(Fold.TO_PROFILES, args[2], TEXT, BYTES, FOLD)
                .addSink(Fold.TO_CELLS, args[3], TEXT, BYTES, FOLD);
        try (KafkaStreams streams = new KafkaStreams(topology, settings)) {
            streams.setUncaughtExceptionHandler(error -> {
                run.fail(error);
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            run.await();
            if (!streams.close(STOP)) {
                throw new IllegalStateException("not stopped within " + STOP);
            }
            Files.write(result, run.result(guarantee(emitEvery, exactly)));
            streams.cleanUp();
        }
    }

    private static Topology topology(String input, boolean keyed, Duration emitEvery, Run run) {
        var tastes = Stores.keyValueStoreBuilder(
                Stores.inMemoryKeyValueStore(Fold.TASTES), Serdes.String(), Taste.SERDE);
        var cells = Stores.keyValueStoreBuilder(
                Stores.inMemoryKeyValueStore(Fold.CELLS), Serdes.String(), Serdes.Long());
        StreamsBuilder builder = new StreamsBuilder()
                .addStateStore(tastes.withCachingEnabled())
                .addStateStore(cells.withCachingEnabled());
        KStream<String, Listen> listens = builder
                .stream(input, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
                .process(() -> new Gate(run));
        if (!keyed) {
            listens = listens.repartition(
                    Repartitioned.with(Serdes.String(), Listen.SERDE).withName("listens"));
        }
        listens.process(
                () -> new Fold(emitEvery, run), Named.as(FOLD), Fold.TASTES, Fold.CELLS);
        return builder.build();
    }

    private static Properties settings(
            String brokers, Path folder, Duration emitEvery, boolean exactly) {
        Properties settings = new Properties();
        settings.putAll(Map.of(
                // New each time: a run must find neither positions nor state of another.
                StreamsConfig.APPLICATION_ID_CONFIG, "bench-kafka-streams-" + UUID.randomUUID(),
                StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers,
                StreamsConfig.STATE_DIR_CONFIG, folder.resolve("kafka-streams").toString(),
                StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1,
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                        exactly ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE,
                StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, commitEvery(emitEvery, exactly).toMillis(),
                StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, CACHE_BYTES,
                StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, POLL_RECORDS));
        settings.put(
                StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), POLL_RECORDS);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), BATCH_BYTES);
        return settings;
    }

    private static Duration commitEvery(Duration emitEvery, boolean exactly) {
        if (exactly) {
            return EXACTLY_ONCE_COMMITS;
        }
        return emitEvery.compareTo(AT_LEAST_ONCE_COMMITS) < 0 ? emitEvery : AT_LEAST_ONCE_COMMITS;
    }

    private static String guarantee(Duration emitEvery, boolean exactly) {
        return "%s once, state in changelog topics, committed every %s s".formatted(
                exactly ? "exactly" : "at least", commitEvery(emitEvery, exactly).toMillis() / 1e3);
    }
}
