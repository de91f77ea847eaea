import io.apicurio.registry.serde.SerdeConfig;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import io.apicurio.registry.serde.strategy.TopicIdStrategy;
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
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Apache's own clients and Avro, in Confluent's framing.
 *
 *   write BOOTSTRAP TOPIC SCHEMA_FILE REGISTRY KEY_FIELD   rows in Avro's JSON on standard input; Apicurio's serialiser, as
 *                                                          Confluent's in framing and subject, which registers the schema
 *                                                          itself; Java's default partitioner
 *   read BOOTSTRAP TOPIC SCHEMA_FILE ID                    what is committed, as lines of: partition, tab, key, tab, Avro's JSON
 */
public class JavaClient {
  public static void main(String[] arguments) throws Exception {
    Schema schema = new Schema.Parser().parse(Files.readString(Path.of(arguments[3])));
    if (arguments[0].equals("write")) {
      write(arguments[1], arguments[2], schema, arguments[4], arguments[5]);
    } else {
      read(arguments[1], arguments[2], schema, Integer.parseInt(arguments[4]));
    }
  }

  static void write(String bootstrap, String topic, Schema schema, String registry, String keyField) throws Exception {
    Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "acks", "all", "compression.type", "zstd");
    Map<String, Object> framing = Map.of(
        SerdeConfig.REGISTRY_URL, registry,
        SerdeConfig.ENABLE_CONFLUENT_ID_HANDLER, true,
        SerdeConfig.USE_ID, "contentId",  // what the registry answers as `id` in Confluent's protocol
        SerdeConfig.ENABLE_HEADERS, false,
        SerdeConfig.ARTIFACT_RESOLVER_STRATEGY, TopicIdStrategy.class.getName(),  // the subject is TOPIC-value
        SerdeConfig.AUTO_REGISTER_ARTIFACT, true,
        SerdeConfig.AUTO_REGISTER_ARTIFACT_IF_EXISTS, "RETURN_OR_UPDATE");
    var rows = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var reader = new GenericDatumReader<GenericRecord>(schema);
    var serializer = new AvroKafkaSerializer<GenericRecord>();
    serializer.configure(framing, false);
    try (var to = new KafkaProducer<>(settings, new ByteArraySerializer(), serializer)) {
      for (String line; (line = rows.readLine()) != null;) {
        GenericRecord row = reader.read(null, DecoderFactory.get().jsonDecoder(schema, line));
        byte[] key = row.get(keyField).toString().getBytes(StandardCharsets.UTF_8);
        to.send(new ProducerRecord<>(topic, null, key, row)).get();
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
