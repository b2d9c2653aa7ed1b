"""What Waybill is compared with, each written as its users write it."""
