"""Class knowledge and the fine-grained domain losses (paper section 3.2 and 3.3).

The discriminator has 2K outputs a pixel under ONE softmax: P(d, c | f) for the domain d and the class c, source classes
first.
"""

import tensorflow as tf

SOURCE, TARGET = 0, 1


def soft_class_knowledge(logits: tf.Tensor, temperature: float, confidence_clip: float) -> tf.Tensor:
    """Returns the classifier's own prediction a as soft labels for the discriminator (paper eq. 7).

    Args:
      logits: float32 [batch, height, width, classes].
      temperature: T > 0 of softmax(logits / T).
      confidence_clip: values above it become it; they are not normalised again:
        https://github.com/JDAI-CV/FADA/blob/a1c6403/train_adv.py#L178-L179.

    Returns:
      float32 [batch, height, width, classes] in 0..confidence_clip; no gradient flows through it.
    """
    knowledge = tf.nn.softmax(tf.cast(logits, tf.float32) / temperature)
    return tf.stop_gradient(tf.minimum(knowledge, confidence_clip))


def hard_class_knowledge(logits: tf.Tensor, confidence_threshold: float) -> tf.Tensor:
    """Returns the classifier's likeliest class as one-hot labels for the discriminator (paper 3.3).

    Args:
      logits: float32 [batch, height, width, classes].
      confidence_threshold: pixels whose highest softmax probability, without temperature, is below it get no label:
        zeros.

    Returns:
      float32 [batch, height, width, classes] of zeros and ones; no gradient flows through it.
    """
    probabilities = tf.nn.softmax(tf.cast(logits, tf.float32))
    confident = tf.reduce_max(probabilities, axis=-1) >= confidence_threshold
    # No class has the number -1: its one-hot label is all zeros.
    likeliest = tf.where(confident, tf.argmax(probabilities, axis=-1, output_type=tf.int32), -1)
    return tf.stop_gradient(tf.one_hot(likeliest, tf.shape(logits)[-1]))


def no_class_knowledge(logits: tf.Tensor) -> tf.Tensor:
    """Returns the labels of the binary discriminator, which knows domains but no classes: one class, always present.

    Args:
      logits: [batch, height, width, classes].

    Returns:
      float32 [batch, height, width, 1] of ones.
    """
    return tf.ones([*tf.unstack(tf.shape(logits)[:-1]), 1])


def fine_grained_cross_entropy(
    domain_logits: tf.Tensor, knowledge: tf.Tensor, domain: int, denominator: tf.Tensor | float | None = None
) -> tf.Tensor:
    """Returns -mean over pixels of sum_k a_k log P(d = domain, c = k | f) (paper eq. 4 to 6).

    Args:
      domain_logits: float32 [batch, height, width, 2 * classes], source classes first.
      knowledge: float32 [batch, height, width, classes], the soft labels a.
      domain: `SOURCE` for the encoding [a ; 0], `TARGET` for [0 ; a].
      denominator: divides the sum over pixels; None: the number of ALL pixels, also of those without a label.

    Returns:
      float32 scalar.
    """
    domain_logits = tf.cast(domain_logits, tf.float32)
    of_domain = tf.split(domain_logits, 2, axis=-1)[domain]
    # sum_k a_k (own_k - log Z) without a map of K channels for the difference.
    log_partition = tf.reduce_logsumexp(domain_logits, axis=-1)
    pixel_losses = tf.reduce_sum(knowledge, axis=-1) * log_partition - tf.reduce_sum(knowledge * of_domain, axis=-1)
    return tf.reduce_sum(pixel_losses) / (tf.size(pixel_losses, tf.float32) if denominator is None else denominator)


def lowest_cross_entropy(knowledge: tf.Tensor, denominator: tf.Tensor | None = None) -> tf.Tensor:
    """Returns what `fine_grained_cross_entropy` is for a discriminator that never errs about the domain.

    By Gibbs' inequality that is -mean over pixels of sum_k a_k log(a_k / sum_j a_j): the entropy of the labels.

    Args:
      knowledge: float32 [batch, height, width, classes], the labels a.
      denominator: as for `fine_grained_cross_entropy`.

    Returns:
      float32 scalar.
    """
    shares = tf.math.divide_no_nan(knowledge, tf.reduce_sum(knowledge, axis=-1, keepdims=True))
    pixel_entropies = -tf.reduce_sum(tf.math.xlogy(knowledge, shares), axis=-1)
    return tf.reduce_sum(pixel_entropies) / (
        tf.size(pixel_entropies, tf.float32) if denominator is None else denominator
    )
