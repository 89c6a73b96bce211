package bench;

import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.util.Utf8;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** What is known of one listener: plays, and decayed weights of artists and genres per term. */
final class Taste {
    static final int TERMS = 3;
    /**
     * Plays, then artists, then genres; of each how many there are, then name and weights of every
     * item. Numbers are big-endian.
     */
    static final Serde<Taste> SERDE = Serdes.serdeFrom(
            (topic, taste) -> taste == null ? null : taste.write(),
            (topic, bytes) -> bytes == null ? null : new Taste(ByteBuffer.wrap(bytes)));

    private static final double[] HALF_LIVES_DAYS = {28, 182, 365};
    private static final double ORIGIN_S = 1.7e9;
    private static final double DAY_S = 86_400;

    private final Map<Utf8, double[]> artists;
    private final Map<Utf8, double[]> genres;
    private long plays;

    Taste() {
        artists = new HashMap<>();
        genres = new HashMap<>();
    }

    private Taste(ByteBuffer bytes) {
        plays = bytes.getLong();
        artists = readItems(bytes);
        genres = readItems(bytes);
    }

    long plays() {
        return plays;
    }

    /** Weights per term of each artist. */
    Map<Utf8, double[]> artists() {
        return artists;
    }

    /** Weights per term of each genre. */
    Map<Utf8, double[]> genres() {
        return genres;
    }

    /** Adds a listen; keeps copies of its names. */
    void add(Listen listen) {
        plays++;
        double[] ofArtist = weights(artists, listen.artist());
        double[][] ofGenres = new double[listen.genres().size()][];
        for (int at = 0; at < ofGenres.length; at++) {
            ofGenres[at] = weights(genres, listen.genres().get(at));
        }
        double days = (listen.minute() - ORIGIN_S) / DAY_S;
        for (int term = 0; term < TERMS; term++) {
            double weight = Math.pow(2, days / HALF_LIVES_DAYS[term]);
            ofArtist[term] += weight;
            for (double[] ofGenre : ofGenres) {
                ofGenre[term] += weight / ofGenres.length;
            }
        }
    }

    private static double[] weights(Map<Utf8, double[]> items, Utf8 name) {
        double[] weights = items.get(name);
        if (weights == null) {
            weights = new double[TERMS];
            items.put(new Utf8(name), weights);
        }
        return weights;
    }

    private byte[] write() {
        ByteBuffer bytes = ByteBuffer.allocate(Long.BYTES + size(artists) + size(genres));
        bytes.putLong(plays);
        writeItems(bytes, artists);
        writeItems(bytes, genres);
        return bytes.array();
    }

    private static int size(Map<Utf8, double[]> items) {
        int size = Integer.BYTES + items.size() * TERMS * Double.BYTES;
        for (Utf8 name : items.keySet()) {
            size += Packed.size(name);
        }
        return size;
    }

    private static void writeItems(ByteBuffer bytes, Map<Utf8, double[]> items) {
        bytes.putInt(items.size());
        items.forEach((name, weights) -> {
            Packed.write(bytes, name);
            for (double weight : weights) {
                bytes.putDouble(weight);
            }
        });
    }

    private static Map<Utf8, double[]> readItems(ByteBuffer bytes) {
        int count = bytes.getInt();
        Map<Utf8, double[]> items = new HashMap<>(count * 4 / 3 + 1);
        for (int item = 0; item < count; item++) {
            Utf8 name = Packed.read(bytes);
            double[] weights = new double[TERMS];
            for (int term = 0; term < TERMS; term++) {
                weights[term] = bytes.getDouble();
            }
            items.put(name, weights);
        }
        return items;
    }
}
