package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.StreamWriteFeature;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Map.Entry;
import org.apache.avro.util.Utf8;

/** A taste as it is published: the heaviest artists and genres per term. */
final class Profile {
    private static final int TOP = 20;
    private static final int TYPICAL_BYTES = 4_096;
    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamWriteFeature.USE_FAST_DOUBLE_WRITER)
            .build();

    private Profile() {}

    /** The profile as JSON in UTF-8. */
    static byte[] json(Taste taste) {
        var bytes = new ByteArrayOutputStream(TYPICAL_BYTES);
        try (JsonGenerator json = JSON.createGenerator(bytes)) {
            json.writeStartObject();
            json.writeNumberField("plays", taste.plays());
            json.writeFieldName("artists");
            writeTerms(json, taste.artists());
            json.writeFieldName("genres");
            writeTerms(json, taste.genres());
            json.writeEndObject();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return bytes.toByteArray();
    }

    private static void writeTerms(JsonGenerator json, Map<Utf8, double[]> items)
            throws IOException {
        json.writeStartArray();
        for (int term = 0; term < Taste.TERMS; term++) {
            json.writeStartArray();
            for (Entry<Utf8, double[]> item : top(items, term)) {
                json.writeStartArray();
                json.writeString(item.getKey().toString());
                json.writeNumber(item.getValue()[term]);
                json.writeEndArray();
            }
            json.writeEndArray();
        }
        json.writeEndArray();
    }

    /** The heaviest items of a term, the heaviest first and ties by name. */
    private static List<Entry<Utf8, double[]>> top(Map<Utf8, double[]> items, int term) {
        Comparator<Entry<Utf8, double[]>> lightest =
                Comparator.comparingDouble(item -> item.getValue()[term]);
        return items.entrySet().stream()
                .sorted(lightest.reversed().thenComparing(Entry::getKey))
                .limit(TOP)
                .toList();
    }
}
