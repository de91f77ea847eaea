import java.io.ByteArrayOutputStream;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Apache's own clients and Avro, in Confluent's framing.
 *
 *   write BOOTSTRAP TOPIC SCHEMA_FILE ID KEY_FIELD   rows in Avro's JSON on standard input; Java's default partitioner
 *   read BOOTSTRAP TOPIC SCHEMA_FILE ID              what is committed, as lines of: partition, tab, key, tab, Avro's JSON
 */
public class JavaClient {
  public static void main(String[] arguments) throws Exception {
    Schema schema = new Schema.Parser().parse(Files.readString(Path.of(arguments[3])));
    int id = Integer.parseInt(arguments[4]);
    if (arguments[0].equals("write")) {
      write(arguments[1], arguments[2], schema, id, arguments[5]);
    } else {
      read(arguments[1], arguments[2], schema, id);
    }
  }

  static void write(String bootstrap, String topic, Schema schema, int id, String keyField) throws Exception {
    Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "acks", "all", "compression.type", "zstd");
    var rows = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var reader = new GenericDatumReader<GenericRecord>(schema);
    var writer = new GenericDatumWriter<GenericRecord>(schema);
    try (var to = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (String line; (line = rows.readLine()) != null;) {
        GenericRecord row = reader.read(null, DecoderFactory.get().jsonDecoder(schema, line));
        var bytes = new ByteArrayOutputStream();
        bytes.write(0);
        bytes.write(ByteBuffer.allocate(4).putInt(id).array());
        var encoder = EncoderFactory.get().binaryEncoder(bytes, null);
        writer.write(row, encoder);
        encoder.flush();
        byte[] key = row.get(keyField).toString().getBytes(StandardCharsets.UTF_8);
        to.send(new ProducerRecord<>(topic, null, key, bytes.toByteArray())).get();
      }
    }
  }

  static void read(String bootstrap, String topic, Schema schema, int id) throws Exception {
    Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed");
    var reader = new GenericDatumReader<GenericRecord>(schema);
    try (var from = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> all =
          from.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
      from.assign(all);
      from.seekToBeginning(all);
      Map<TopicPartition, Long> ends = from.endOffsets(all);
      while (all.stream().anyMatch(p -> from.position(p) < ends.get(p))) {
        for (var record : from.poll(Duration.ofSeconds(1))) {
          ByteBuffer frame = ByteBuffer.wrap(record.value());
          if (frame.get() != 0 || frame.getInt() != id) throw new IllegalStateException("not framed with id " + id);
          var decoder = DecoderFactory.get().binaryDecoder(record.value(), 5, record.value().length - 5, null);
          GenericRecord row = reader.read(null, decoder);
          if (!decoder.isEnd()) throw new IllegalStateException("bytes after the body");
          System.out.println(record.partition() + "\t" + new String(record.key(), StandardCharsets.UTF_8) + "\t" + row);
        }
      }
    }
  }
}
