import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** Avro behind a prefix of five bytes, field by field on Avro's own coder: no slower than generated classes. */
final class AvroForm {
  private static final int PREFIX = 5;

  private interface Reads<T> {
    T read(BinaryDecoder decoder) throws IOException;
  }

  private interface Writes<T> {
    void write(T value, BinaryEncoder encoder) throws IOException;
  }

  static Serde<Command> commands() {
    return form(
        decoder -> {
          Command command = new Command();
          command.type = decoder.readString();
          command.order = decoder.readString();
          command.sku = decoder.readString();
          command.quantity = decoder.readInt();
          command.id = decoder.readInt();
          return command;
        },
        (command, encoder) -> {
          encoder.writeString(command.type);
          encoder.writeString(command.order);
          encoder.writeString(command.sku);
          encoder.writeInt(command.quantity);
          encoder.writeInt(command.id);
        });
  }

  static Serde<Stock> stock() {
    return form(
        decoder -> {
          Stock stock = new Stock();
          stock.on_hand = decoder.readLong();
          stock.reserved = decoder.readLong();
          stock.version = decoder.readLong();
          return stock;
        },
        (stock, encoder) -> {
          encoder.writeLong(stock.on_hand);
          encoder.writeLong(stock.reserved);
          encoder.writeLong(stock.version);
        });
  }

  static Serde<Outcome> outcomes() {
    return form(
        decoder -> {
          Outcome outcome = new Outcome();
          outcome.id = decoder.readInt();
          outcome.order = decoder.readString();
          outcome.sku = decoder.readString();
          outcome.quantity = decoder.readInt();
          outcome.outcome = decoder.readString();
          outcome.version = decoder.readLong();
          return outcome;
        },
        (outcome, encoder) -> {
          encoder.writeInt(outcome.id);
          encoder.writeString(outcome.order);
          encoder.writeString(outcome.sku);
          encoder.writeInt(outcome.quantity);
          encoder.writeString(outcome.outcome);
          encoder.writeLong(outcome.version);
        });
  }

  private static <T> Serde<T> form(Reads<T> reads, Writes<T> writes) {
    ByteArrayOutputStream out = new ByteArrayOutputStream(128);
    BinaryEncoder encoder = EncoderFactory.get().directBinaryEncoder(out, null);
    BinaryDecoder[] decoder = new BinaryDecoder[1];
    return Serdes.serdeFrom(
        (topic, value) -> {
          if (value == null) {
            return null;
          }
          synchronized (out) { // one thread each in the benchmark; the lock is free then
            try {
              out.reset();
              out.write(new byte[PREFIX], 0, PREFIX);
              writes.write(value, encoder);
              return out.toByteArray();
            } catch (IOException error) {
              throw new UncheckedIOException(error);
            }
          }
        },
        (topic, bytes) -> {
          if (bytes == null) {
            return null;
          }
          synchronized (decoder) {
            try {
              decoder[0] =
                  DecoderFactory.get().binaryDecoder(bytes, PREFIX, bytes.length - PREFIX, decoder[0]);
              return reads.read(decoder[0]);
            } catch (IOException error) {
              throw new UncheckedIOException(error);
            }
          }
        });
  }

  private AvroForm() {}
}
