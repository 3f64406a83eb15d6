"""Networks, a data set, metrics, a callback, a trick and an objective of one's own."""
