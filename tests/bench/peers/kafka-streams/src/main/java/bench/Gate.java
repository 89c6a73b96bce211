package bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.specific.SpecificDatumReader;
import org.apache.avro.util.ClassSecurityValidator;
import org.apache.avro.util.Utf8;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import sottovoce.Play;

/** Turns plays into listens, keyed by the pseudonym of the listener. */
final class Gate extends ContextualProcessor<byte[], byte[], String, Listen> {
    private static final int FRAMING_BYTES = 5;
    private static final int LISTENER_BYTES = 16;
    private static final int KEY_BYTES = 32;
    private static final byte KEY_BYTE = 0x5a;
    private static final long MINUTE_S = 60;

    static { // Avro makes objects of the classes it has been told of only
        ClassSecurityValidator.setGlobal(ClassSecurityValidator.composite(
                ClassSecurityValidator.DEFAULT,
                type -> type.getPackage().equals(Play.class.getPackage())));
    }

    private final Run run;
    private final SpecificDatumReader<Play> reader = new SpecificDatumReader<>(Play.class);
    private final Play play = new Play();
    private final Mac mac = mac();
    private BinaryDecoder decoder;

    Gate(Run run) {
        this.run = run;
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        run.begin();
        read(record.value());
        Listen listen = new Listen(
                Math.floorDiv(play.getStartedAt().getEpochSecond(), MINUTE_S) * MINUTE_S,
                play.getLocation().getCountry(),
                play.getArtist().getName(),
                play.getGenres());
        context().forward(record.withKey(listener(play.getUserId())).withValue(listen));
    }

    private void read(byte[] value) {
        decoder = DecoderFactory.get()
                .binaryDecoder(value, FRAMING_BYTES, value.length - FRAMING_BYTES, decoder);
        try {
            reader.read(play, decoder);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private String listener(Utf8 user) {
        mac.update(user.getBytes(), 0, user.getByteLength());
        return HexFormat.of().formatHex(mac.doFinal(), 0, LISTENER_BYTES);
    }

    private static Mac mac() {
        byte[] key = new byte[KEY_BYTES];
        Arrays.fill(key, KEY_BYTE);
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, mac.getAlgorithm()));
            return mac;
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }
}
