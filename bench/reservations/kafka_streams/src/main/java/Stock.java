/** The state of one SKU. */
public final class Stock {
  public long on_hand;
  public long reserved;
  public long version;
}
