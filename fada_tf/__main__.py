"""`python -m fada_tf PROGRAM` is `fada-tf PROGRAM`."""

from fada_tf.command import main

if __name__ == "__main__":
    main()
