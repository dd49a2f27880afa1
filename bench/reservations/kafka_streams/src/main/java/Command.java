/** A wish: `receive` stock or `reserve` it. */
public final class Command {
  public String type;
  public String order;
  public String sku;
  public int quantity;
  public int id;
}
