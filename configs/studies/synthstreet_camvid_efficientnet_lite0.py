"""Every method on synthstreet to CamVid with EfficientNet-Lite0, and their controls, two seeds.

python scripts/run_study.py --config=configs/studies/synthstreet_camvid_efficientnet_lite0.py
"""

from fada_tf.experiments.stages import Training
from fada_tf.experiments.study import Row, Study

CONTROL = "source only, as long as the next rows"
WHOLE = "source only, whole pictures"
CONTROL_OF_WHOLE = "source only, whole pictures, as long as the next rows"
LONG_CONTROL = "source only, as long as FADA and MIC"
# As FADA is trained.
CROPS = {
    "data.source.height": 192,
    "data.source.width": 256,
    "data.target.height": 192,
    "data.target.width": 256,
    "training.batch_size": 4,
    "method.mask_block": 32,
    "method.class_shares": "",
}
FREE = {"method.class_shares": ""}
# Of synthstreet's pixels, as make_tfrecords prints them.
SOURCE_SHARES = {"method.class_shares": "0.1526,0.2402,0.0115,0.3445,0.0651,0.0832,0.0092,0.0096,0.0748,0.0056,0.0036"}
DISCRIMINATOR = {
    "method.adversarial": True,
    "method.segmentation_temperature": 1.8,
    "method.fada.adversarial_weight": 0.003,
    "method.fada.discriminator.learning_rate": 5e-4,
}
SOURCE_FREE = FREE | {"method.name": "source_free", "data.source.records": ""}


def get_study() -> Study:
    return Study(
        name="synthstreet_camvid_efficientnet_lite0",
        experiment="configs/synthstreet_camvid_efficientnet_lite0.py",
        test_records="data/records/camvid_test",
        seeds=(0, 1),
        trainings=(
            Training("source", "source"),
            Training("whole", "whole", start="source"),
            Training("mic", "self_training", start="whole"),
            Training("held_mic", "self_training", start="whole", overrides=SOURCE_SHARES),
            Training("control", "source", start="source", continues=True, as_long_as="whole"),
            Training("control_of_whole", "self_training", start="whole", overrides={"method.name": "source_only"}),
            Training("free_mic", "self_training", start="source", directly=True, overrides=FREE),
            Training("free_mic_of_whole", "self_training", start="whole", overrides=FREE),
            Training("source_free", "self_training", start="source", directly=True, overrides=SOURCE_FREE),
            Training("dacs", "self_training", start="whole", overrides={"method.name": "dacs"}),
            Training("no_mix", "self_training", start="whole", overrides={"method.mix_weight": 0.0}),
            Training("all_confident", "self_training", start="whole", overrides={"method.confidence_threshold": 0.0}),
            Training("mic_of_crops", "self_training", start="source", directly=True, overrides=CROPS),
            Training("fada", "adversarial", start="source"),
            Training("binary", "adversarial", start="source", overrides={"method.name": "binary_adversarial"}),
            Training("fada_mic", "self_training", start="whole", overrides=DISCRIMINATOR),
            Training("fada_then_mic", "self_training", start="fada", directly=True),
            Training("fada_then_mic_of_crops", "self_training", start="fada", directly=True, overrides=CROPS),
            Training("control_long", "source", start="control", continues=True, as_long_as="fada_then_mic"),
        ),
        rows=(
            Row("source only", "source"),
            Row(CONTROL, "control"),
            Row("binary adversarial", "binary", control=CONTROL),
            Row("FADA", "fada", control=CONTROL),
            Row("MIC of crops", "mic_of_crops", control=CONTROL),
            Row("MIC of crops, teacher", "mic_of_crops", control=CONTROL, network="teacher"),
            Row(WHOLE, "whole"),
            Row("MIC, shares not held, from crops", "free_mic", control=WHOLE),
            Row("MIC, shares not held, from crops, teacher", "free_mic", control=WHOLE, network="teacher"),
            Row("source-free, from crops", "source_free", control=WHOLE),
            Row(CONTROL_OF_WHOLE, "control_of_whole"),
            Row("MIC", "mic", control=CONTROL_OF_WHOLE),
            Row("MIC, teacher", "mic", control=CONTROL_OF_WHOLE, network="teacher"),
            Row("MIC, multi-scale", "mic", control=CONTROL_OF_WHOLE, multi_scale=True),
            Row("MIC, held to the source's shares", "held_mic", control=CONTROL_OF_WHOLE),
            Row("MIC, held to the source's shares, teacher", "held_mic", control=CONTROL_OF_WHOLE, network="teacher"),
            Row("MIC, shares not held", "free_mic_of_whole", control=CONTROL_OF_WHOLE),
            Row("MIC without masked images (DACS)", "dacs", control=CONTROL_OF_WHOLE),
            Row("MIC without mixed images", "no_mix", control=CONTROL_OF_WHOLE),
            Row("MIC, every pseudo label with weight 1", "all_confident", control=CONTROL_OF_WHOLE),
            Row("MIC with FADA's discriminator", "fada_mic", control=CONTROL_OF_WHOLE),
            Row("MIC with FADA's discriminator, teacher", "fada_mic", control=CONTROL_OF_WHOLE, network="teacher"),
            Row(LONG_CONTROL, "control_long"),
            Row("FADA, then MIC of crops", "fada_then_mic_of_crops", control=LONG_CONTROL),
            Row("FADA, then MIC of crops, teacher", "fada_then_mic_of_crops", control=LONG_CONTROL, network="teacher"),
            Row("FADA, then MIC", "fada_then_mic", control=LONG_CONTROL),
            Row("FADA, then MIC, teacher", "fada_then_mic", control=LONG_CONTROL, network="teacher"),
        ),
        overrides={"training.keep_checkpoints": 1},
    )
