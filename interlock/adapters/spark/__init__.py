"""The warehouse on Spark: the port in `warehouse`, parts of tables at one instant in `pieces`."""

from interlock.adapters.spark.warehouse import SparkWarehouse

__all__ = ["SparkWarehouse"]
