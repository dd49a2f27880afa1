import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The benchmark's work on Kafka Streams at its best exactly-once setting: RocksDB with the record cache.
 * Arguments: application id, bootstrap, source, target, json|avro, state folder, then key=value settings.
 */
public final class Reservations {

  public static void main(String[] arguments) throws Exception {
    Properties settings = new Properties();
    settings.put("application.id", arguments[0]);
    settings.put("bootstrap.servers", arguments[1]);
    settings.put("state.dir", arguments[5]);
    settings.put("processing.guarantee", "exactly_once_v2");
    settings.put("auto.offset.reset", "earliest");
    settings.put("num.stream.threads", "1");
    for (int i = 6; i < arguments.length; i++) {
      String[] pair = arguments[i].split("=", 2);
      settings.put(pair[0], pair[1]);
    }
    boolean json = arguments[4].equals("json");
    Serde<Command> commands = json ? JsonForm.of(Command.class) : AvroForm.commands();
    Serde<Stock> stock = json ? JsonForm.of(Stock.class) : AvroForm.stock();
    Serde<Outcome> outcomes = json ? JsonForm.of(Outcome.class) : AvroForm.outcomes();

    StreamsBuilder builder = new StreamsBuilder();
    builder.addStateStore(
        Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("stock"), Serdes.String(), stock)
            .withCachingEnabled());
    builder
        .stream(arguments[2], Consumed.with(Serdes.String(), commands))
        .process(Reserve::new, "stock")
        .to(arguments[3], Produced.with(Serdes.String(), outcomes));

    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    CountDownLatch ended = new CountDownLatch(1);
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  streams.close(Duration.ofSeconds(10));
                  ended.countDown();
                }));
    streams.start();
    ended.await();
  }

  /** The rule: a receipt adds stock; a reservation takes it or is rejected. Only what changes is written. */
  private static final class Reserve implements Processor<String, Command, String, Outcome> {
    private ProcessorContext<String, Outcome> context;
    private KeyValueStore<String, Stock> stock;

    @Override
    public void init(ProcessorContext<String, Outcome> given) {
      context = given;
      stock = given.getStateStore("stock");
    }

    @Override
    public void process(Record<String, Command> record) {
      Command command = record.value();
      Stock row = stock.get(command.sku);
      if (row == null) {
        row = new Stock();
      }
      if (command.type.equals("receive")) {
        row.on_hand += command.quantity;
        row.version++;
        stock.put(command.sku, row);
        return;
      }
      Outcome outcome = new Outcome();
      outcome.id = command.id;
      outcome.order = command.order;
      outcome.sku = command.sku;
      outcome.quantity = command.quantity;
      outcome.outcome = "REJECTED";
      if (row.on_hand - row.reserved >= command.quantity) {
        row.reserved += command.quantity;
        row.version++;
        stock.put(command.sku, row);
        outcome.outcome = "RESERVED";
      }
      outcome.version = row.version;
      context.forward(record.withKey(command.order).withValue(outcome));
    }
  }
}
