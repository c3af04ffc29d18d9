//! Numbers of the first version's documents, of real weights.

use super::asset;
use crate::measure1::compare;

#[test]
fn numbers_of_real_weights_are_those_of_the_first_version() {
    let path = |name: &str| asset(name).display().to_string();
    let weights = path("classify/resnet20-distiller-zero-layers.safetensors");
    let images = path("data/cifar10-lossless20.safetensors");
    compare("resnet20-zero-layers", &[&weights, &images, "--arch", "resnet20-distiller"]);
    let (weights, text) = (path("lstm/charrnn-shakespeare.safetensors"), path("data/text/shakespeare-10k.txt"));
    let vocabulary = path("lstm/charrnn-shakespeare.vocab.json");
    compare("charrnn", &[&weights, &text, "--limit", "8", "--arch", "charrnn", "--vocab", &vocabulary]);
    let (network, images) = (path("quant/mobilenet_v1_0.25_128_quant.tflite"), path("data/imagenet224"));
    compare("mobilenet-v1-quant", &[&network, &images, "--limit", "4"]);
}
