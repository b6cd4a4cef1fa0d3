"""Modal as Pulumi resources, through the vendor's SDK."""
