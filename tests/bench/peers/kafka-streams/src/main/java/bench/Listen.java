package bench;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.apache.avro.util.Utf8;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/**
 * What is kept of a play.
 *
 * <p>One that comes from {@link Gate} shares its texts with the play, which the next play
 * overwrites: whoever keeps a text copies it.
 *
 * @param minute when it began, seconds since the epoch
 * @param country empty if it is not known
 */
record Listen(long minute, Utf8 country, Utf8 artist, List<Utf8> genres) {
    /** Minute, country, artist, number of genres, genres. Numbers are big-endian. */
    static final Serde<Listen> SERDE =
            Serdes.serdeFrom((topic, listen) -> listen.write(), (topic, bytes) -> read(bytes));

    private static final Utf8 UNKNOWN = new Utf8("");

    Listen {
        country = country == null ? UNKNOWN : country;
    }

    private byte[] write() {
        int size = Long.BYTES + Packed.size(country) + Packed.size(artist) + Integer.BYTES;
        for (Utf8 genre : genres) {
            size += Packed.size(genre);
        }
        ByteBuffer bytes = ByteBuffer.allocate(size);
        bytes.putLong(minute);
        Packed.write(bytes, country);
        Packed.write(bytes, artist);
        bytes.putInt(genres.size());
        for (Utf8 genre : genres) {
            Packed.write(bytes, genre);
        }
        return bytes.array();
    }

    private static Listen read(byte[] value) {
        ByteBuffer bytes = ByteBuffer.wrap(value);
        long minute = bytes.getLong();
        Utf8 country = Packed.read(bytes);
        Utf8 artist = Packed.read(bytes);
        int count = bytes.getInt();
        List<Utf8> genres = new ArrayList<>(count);
        for (int genre = 0; genre < count; genre++) {
            genres.add(Packed.read(bytes));
        }
        return new Listen(minute, country, artist, genres);
    }
}
