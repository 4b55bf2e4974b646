/*
Depth from an exported network in ONNX Runtime, without Python. docs/export.md has the inputs, outputs and formulas.

  dfd export --out stream.onnx --size 640x480
  c++ -std=c++17 -O2 examples/onnx_runtime.cpp -o depth \
      -I$ONNXRUNTIME/include -L$ONNXRUNTIME/lib -Wl,-rpath,$ONNXRUNTIME/lib -lonnxruntime
  ./depth stream.onnx NEAR FAR BLUR_SCALE depth.pfm  FOCUS 0.ppm  FOCUS 1.ppm ...

NEAR, FAR and FOCUS are distances in m, BLUR_SCALE is k in px or nan; the frames are binary PPM files of the size of
the network. Writes the depth after the last frame in m, NaN where its confidence is below 0.3. This program leaves
out the registration of the frames.
*/

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr float kLeastConfidence = 0.3F;

using Shape = std::vector<int64_t>;

/// One tensor with its memory, float32.
struct Tensor {
  Shape shape;
  std::vector<float> values;

  explicit Tensor(const Shape &shape) : shape(shape), values(count(shape)) {}

  static size_t count(const Shape &shape) {
    int64_t product = 1;
    for (const int64_t side : shape) product *= side;
    if (product < 1) throw std::runtime_error("the network takes images of any size; export it with --size");
    return static_cast<size_t>(product);
  }

  Ort::Value view() {
    static const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    return Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), shape.data(), shape.size());
  }
};

/// Reads a binary PPM file as sRGB in 0..1, channel by channel.
void read_ppm(const std::string &path, Tensor &image) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int64_t width = 0, height = 0, largest = 0;
  file >> magic >> width >> height >> largest;
  file.get();
  if (!file || magic != "P6" || largest != 255) throw std::runtime_error(path + ": not a binary PPM file of 8 bits");
  if (height != image.shape[2] || width != image.shape[3]) {
    throw std::runtime_error(path + ": must have the " + std::to_string(image.shape[3]) + "x" +
                             std::to_string(image.shape[2]) + " px of the network");
  }
  const size_t pixels = static_cast<size_t>(width * height);
  std::vector<unsigned char> bytes(3 * pixels);
  if (!file.read(reinterpret_cast<char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()))) {
    throw std::runtime_error(path + ": ends early");
  }
  for (size_t i = 0; i < bytes.size(); ++i) image.values[i % 3 * pixels + i / 3] = bytes[i] / 255.0F;
}

/// Writes a map as a PFM file, whose rows go from the bottom to the top.
void write_pfm(const std::string &path, const std::vector<float> &map, size_t height, size_t width) {
  std::ofstream file(path, std::ios::binary);
  file << "Pf\n" << width << ' ' << height << "\n-1.0\n";
  for (size_t row = height; row-- > 0;) {
    file.write(reinterpret_cast<const char *>(&map[row * width]), static_cast<std::streamsize>(width * sizeof(float)));
  }
  if (!file.flush()) throw std::runtime_error(path + ": cannot be written");
}

void run(const std::vector<std::string> &arguments) {
  Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "dfd_ros");
  Ort::Session session(environment, arguments[0].c_str(), Ort::SessionOptions());
  const float near = 1 / std::stof(arguments[1]), far = 1 / std::stof(arguments[2]);  // dioptres

  Ort::AllocatorWithDefaultOptions allocator;
  std::vector<std::string> names;
  std::vector<Tensor> inputs;  // image, focus, blur_scale, state0, ...; the state starts with zeros
  for (size_t i = 0; i < session.GetInputCount(); ++i) {
    names.emplace_back(session.GetInputNameAllocated(i, allocator).get());
    inputs.emplace_back(session.GetInputTypeInfo(i).GetTensorTypeAndShapeInfo().GetShape());
  }
  inputs[2].values[0] = std::stof(arguments[3]);
  const size_t outputs = session.GetOutputCount();
  for (size_t i = 0; i < outputs; ++i) names.emplace_back(session.GetOutputNameAllocated(i, allocator).get());
  std::vector<const char *> name;
  for (const std::string &text : names) name.push_back(text.c_str());

  Tensor &image = inputs[0];
  const size_t height = static_cast<size_t>(image.shape[2]), width = static_cast<size_t>(image.shape[3]);
  std::vector<float> depth(height * width, std::numeric_limits<float>::quiet_NaN());
  for (size_t argument = 5; argument + 1 < arguments.size(); argument += 2) {
    const float focus = (1 / std::stof(arguments[argument]) - far) / (near - far);
    inputs[1].values[0] = std::clamp(focus, -0.5F, 1.5F);
    read_ppm(arguments[argument + 1], image);

    std::vector<Ort::Value> values;
    for (Tensor &tensor : inputs) values.push_back(tensor.view());
    const auto results = session.Run(Ort::RunOptions{nullptr}, name.data(), values.data(), inputs.size(),
                                     name.data() + inputs.size(), outputs);

    const float *vergence = results[0].GetTensorData<float>(), *log_scale = results[1].GetTensorData<float>();
    size_t known = 0;
    for (size_t i = 0; i < depth.size(); ++i) {
      const float confidence = 1 - std::exp(-0.05F / std::exp(log_scale[i]));
      const float dioptres = far + vergence[i] * (near - far);
      const float distance = dioptres > 0 ? 1 / dioptres : std::numeric_limits<float>::infinity();
      depth[i] = confidence < kLeastConfidence ? std::numeric_limits<float>::quiet_NaN() : distance;
      known += confidence >= kLeastConfidence;
    }
    std::cout << arguments[argument + 1] << ": depth of " << 100 * known / depth.size() << " % of the pixels\n";

    for (size_t i = 3; i < inputs.size(); ++i) {  // the state goes into the next frame
      const float *next = results[i].GetTensorData<float>();
      std::copy(next, next + inputs[i].values.size(), inputs[i].values.begin());
    }
  }
  write_pfm(arguments[4], depth, height, width);
}

}  // namespace

int main(int count, char **arguments) {
  if (count < 8 || count % 2) {
    std::cerr << "usage: " << arguments[0] << " MODEL NEAR FAR BLUR_SCALE OUT.pfm FOCUS FRAME.ppm [FOCUS FRAME.ppm ...]\n";
    return 2;
  }
  try {
    run({arguments + 1, arguments + count});
  } catch (const std::exception &error) {  // of ONNX Runtime, too
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
