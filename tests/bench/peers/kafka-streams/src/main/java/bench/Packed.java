package bench;

import java.nio.ByteBuffer;
import org.apache.avro.util.Utf8;

/** Texts within the bytes of a value: length, then UTF-8. */
final class Packed {
    private Packed() {}

    static int size(Utf8 text) {
        return Integer.BYTES + text.getByteLength();
    }

    static void write(ByteBuffer bytes, Utf8 text) {
        bytes.putInt(text.getByteLength()).put(text.getBytes(), 0, text.getByteLength());
    }

    static Utf8 read(ByteBuffer bytes) {
        byte[] text = new byte[bytes.getInt()];
        bytes.get(text);
        return new Utf8(text);
    }
}
