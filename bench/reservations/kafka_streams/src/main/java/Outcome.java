/** The answer to one reservation. */
public final class Outcome {
  public int id;
  public String order;
  public String sku;
  public int quantity;
  public String outcome;
  public long version;
}
