// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/memory_probe.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;
namespace fs = std::filesystem;

constexpr Bytes kGiB = Bytes{1} << 30;

// A tree of files that stands for / of some machine.
class ProbeTest : public ::testing::Test {
 protected:
  ProbeTest() {
    std::string name = fs::temp_directory_path() / "tidegate_probe_XXXXXX";
    root_ = mkdtemp(name.data());
  }
  ~ProbeTest() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const fs::path file = root_ + "/" + path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  absl::StatusOr<MemoryProbeReading> Read(std::string_view name,
                                          MemoryProbeOptions options = {}) {
    if (options.root == "/") options.root = root_;
    auto probe = CreateMemoryProbe(name, options);
    EXPECT_THAT(probe, IsOk());
    EXPECT_EQ((*probe)->Name(), name);
    return (*probe)->Read();
  }
  // The one device of a reading.
  DeviceMemory ReadOne(std::string_view name) {
    const auto reading = Read(name);
    EXPECT_THAT(reading, IsOk());
    if (!reading.ok() || reading->devices.size() != 1) return {};
    return reading->devices[0];
  }

  std::string root_;
};

TEST_F(ProbeTest, NoneIsNoProbe) {
  ASSERT_OK_AND_ASSIGN(const auto probe, CreateMemoryProbe("none"));
  EXPECT_EQ(probe, nullptr);
}

TEST_F(ProbeTest, AnUnknownNameIsNamedWithASuggestion) {
  EXPECT_THAT(CreateMemoryProbe("nvmll"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("memory.probe"),
                             HasSubstr("did you mean 'nvml'?"))));
}

TEST_F(ProbeTest, EveryNameButCallbackCreates) {
  for (const std::string_view name : MemoryProbeNames()) {
    if (name == "callback") continue;
    EXPECT_THAT(CreateMemoryProbe(name), IsOk()) << name;
  }
  EXPECT_THAT(CreateMemoryProbe("callback"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("which only a program can give")));
}

TEST_F(ProbeTest, ProcReadsHostAndProcess) {
  Write("proc/meminfo",
        "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:   400 kB\n");
  Write("proc/self/statm", "765 32 404 5 0 123 0\n");
  const DeviceMemory host = ReadOne("proc");
  EXPECT_EQ(host.name, "host");
  EXPECT_EQ(host.used_bytes, 600 * 1024);
  EXPECT_EQ(host.limit_bytes, 1000 * 1024);
  EXPECT_EQ(host.process_bytes, 32 * sysconf(_SC_PAGESIZE));
}

TEST_F(ProbeTest, ProcNamesFileAndLineOfWhatIsNoNumber) {
  Write("proc/meminfo", "MemTotal:       1000 kB\nMemAvailable:   4x0 kB\n");
  EXPECT_THAT(Read("proc"),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("/proc/meminfo:2: expected a whole"),
                             HasSubstr("'4x0'"))));
}

TEST_F(ProbeTest, ProcNamesALineThatIsMissing) {
  Write("proc/meminfo", "MemTotal:       1000 kB\n");
  EXPECT_THAT(Read("proc"), StatusIs(absl::StatusCode::kDataLoss,
                                     HasSubstr("'MemAvailable:'")));
}

TEST_F(ProbeTest, AnAbsentFileIsUnavailable) {
  EXPECT_THAT(Read("proc"), StatusIs(absl::StatusCode::kUnavailable,
                                     HasSubstr("/proc/meminfo: No such file")));
}

TEST_F(ProbeTest, PressureIsSomeAvg10) {
  Write("proc/pressure/memory",
        "some avg10=12.50 avg60=3.00 avg300=0.00 total=1\n"
        "full avg10=1.00 avg60=0.00 avg300=0.00 total=0\n");
  ASSERT_OK_AND_ASSIGN(const double pressure, ReadMemoryPressure(root_));
  EXPECT_EQ(pressure, 12.5);
}

TEST_F(ProbeTest, PressureThatIsNoPercentageIsRefused) {
  Write("proc/pressure/memory", "some avg10=much avg60=3.00\n");
  EXPECT_THAT(ReadMemoryPressure(root_),
              StatusIs(absl::StatusCode::kDataLoss,
                       HasSubstr("memory:1: expected a percentage")));
}

TEST_F(ProbeTest, AKernelWithoutPressureIsUnavailable) {
  EXPECT_THAT(ReadMemoryPressure(root_),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("/proc/pressure/memory")));
}

TEST_F(ProbeTest, CgroupMaxIsNoLimit) {
  Write("proc/self/cgroup", "0::/a\n");
  Write("sys/fs/cgroup/a/memory.current", "0\n");
  Write("sys/fs/cgroup/a/memory.max", "max\n");
  const DeviceMemory group = ReadOne("cgroup");
  EXPECT_EQ(group.name, "cgroup:/a");
  EXPECT_EQ(group.used_bytes, 0);
  EXPECT_EQ(group.limit_bytes, std::nullopt);
}

TEST_F(ProbeTest, CgroupHighLimitsBelowMax) {
  Write("proc/self/cgroup", "0::/a\n");
  Write("sys/fs/cgroup/a/memory.current", "100\n");
  Write("sys/fs/cgroup/a/memory.max", "1000\n");
  Write("sys/fs/cgroup/a/memory.high", "900\n");
  EXPECT_EQ(ReadOne("cgroup").limit_bytes, 900);
}

TEST_F(ProbeTest, TheGroupAboveWithLessRoomIsReported) {
  Write("proc/self/cgroup", "9:name=systemd:/x\n0::/pod/box\n");
  Write("sys/fs/cgroup/pod/box/memory.current", "100\n");
  Write("sys/fs/cgroup/pod/box/memory.max", "1000\n");
  Write("sys/fs/cgroup/pod/memory.current", "1900\n");
  Write("sys/fs/cgroup/pod/memory.max", "2000\n");
  const DeviceMemory group = ReadOne("cgroup");
  EXPECT_EQ(group.name, "cgroup:/pod");
  EXPECT_EQ(group.used_bytes, 1900);
  EXPECT_EQ(group.limit_bytes, 2000);
}

TEST_F(ProbeTest, InAContainerTheGroupIsTheRoot) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.current", "5\n");
  Write("sys/fs/cgroup/memory.max", "10\n");
  EXPECT_EQ(ReadOne("cgroup").name, "cgroup:/");
}

TEST_F(ProbeTest, CgroupVersionOneIsUnavailable) {
  Write("proc/self/cgroup", "4:memory:/a\n");
  EXPECT_THAT(Read("cgroup"), StatusIs(absl::StatusCode::kUnavailable,
                                       HasSubstr("v2 is not in use")));
}

TEST_F(ProbeTest, CgroupWithoutMemoryControllerIsUnavailable) {
  Write("proc/self/cgroup", "0::/a\n");
  EXPECT_THAT(Read("cgroup"), StatusIs(absl::StatusCode::kUnavailable,
                                       HasSubstr("memory controller")));
}

TEST_F(ProbeTest, ACgroupPathCannotLeaveTheTree) {
  Write("proc/self/cgroup", "0::/../../etc\n");
  EXPECT_THAT(Read("cgroup"), StatusIs(absl::StatusCode::kDataLoss,
                                       HasSubstr("/proc/self/cgroup:1")));
}

TEST_F(ProbeTest, AnEmptyCounterIsNotZero) {
  Write("proc/self/cgroup", "0::/a\n");
  Write("sys/fs/cgroup/a/memory.current", "");
  EXPECT_THAT(Read("cgroup"), StatusIs(absl::StatusCode::kDataLoss,
                                       HasSubstr("memory.current:1")));
}

TEST_F(ProbeTest, AmdgpuReadsEveryCardInOrderOfNumber) {
  for (const int card : {10, 2}) {
    const std::string device =
        "sys/class/drm/card" + std::to_string(card) + "/device/mem_info_";
    Write(device + "vram_used", std::to_string(card) + "\n");
    Write(device + "vram_total", "1000\n");
  }
  Write("sys/class/drm/card0/device/vendor", "0x8086\n");
  Write("sys/class/drm/card2-DP-1/status", "connected\n");
  ASSERT_OK_AND_ASSIGN(const auto reading, Read("amdgpu"));
  ASSERT_EQ(reading.devices.size(), 2u);
  EXPECT_EQ(reading.devices[0].name, "amdgpu:card2");
  EXPECT_EQ(reading.devices[1].used_bytes, 10);
  EXPECT_EQ(reading.devices[1].limit_bytes, 1000);
}

TEST_F(ProbeTest, AmdgpuGttAddsMappedSystemMemory) {
  const std::string device = "sys/class/drm/card0/device/mem_info_";
  Write(device + "vram_used", "1\n");
  Write(device + "vram_total", "10\n");
  Write(device + "gtt_used", "200\n");
  Write(device + "gtt_total", "2000\n");
  const DeviceMemory card = ReadOne("amdgpu_gtt");
  EXPECT_EQ(card.used_bytes, 201);
  EXPECT_EQ(card.limit_bytes, 2010);
}

TEST_F(ProbeTest, NoAmdgpuIsUnavailable) {
  EXPECT_THAT(Read("amdgpu"), StatusIs(absl::StatusCode::kUnavailable,
                                       HasSubstr("no amdgpu here")));
}

TEST_F(ProbeTest, AWantedCardThatIsAbsentIsNamed) {
  EXPECT_THAT(Read("amdgpu", {.devices = {3}}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("card3")));
}

TEST_F(ProbeTest, NvmlAbsentIsUnavailable) {
  EXPECT_THAT(Read("nvml", {.nvml_library = "libtidegate-none.so.1"}),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("NVML cannot be loaded: libtidegate-none")));
}

TEST_F(ProbeTest, ALibraryThatIsNotNvmlIsUnavailable) {
  EXPECT_THAT(Read("nvml", {.nvml_library = "libm.so.6"}),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("has no function nvmlInit_v2")));
}

TEST_F(ProbeTest, NvmlReadsEveryDeviceAndZeroIsANumber) {
  ASSERT_OK_AND_ASSIGN(const auto reading,
                       Read("nvml", {.nvml_library = TIDEGATE_FAKE_NVML}));
  ASSERT_EQ(reading.devices.size(), 2u);
  EXPECT_EQ(reading.devices[0].used_bytes, 0);
  EXPECT_EQ(reading.devices[1].name, "nvml:1");
  EXPECT_EQ(reading.devices[1].used_bytes, 70 * kGiB);
  EXPECT_EQ(reading.devices[1].limit_bytes, 80 * kGiB);
}

TEST_F(ProbeTest, ALostDeviceIsNamedWithTheDriversWords) {
  EXPECT_THAT(
      Read("nvml", {.nvml_library = TIDEGATE_FAKE_NVML, .devices = {2}}),
      StatusIs(absl::StatusCode::kUnavailable,
               HasSubstr("nvmlDeviceGetMemoryInfo(2): GPU is lost (code 15)")));
}

TEST_F(ProbeTest, ACallbackThatThrowsIsAnError) {
  MemoryProbeOptions options;
  options.callback = []() -> absl::StatusOr<MemoryProbeReading> {
    throw std::runtime_error("no context");
  };
  EXPECT_THAT(Read("callback", options),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("no context")));
}

TEST(RealProbeTest, ThisMachinesProcIsRead) {
  if (!fs::exists("/proc/meminfo")) GTEST_SKIP() << "no /proc here";
  ASSERT_OK_AND_ASSIGN(const auto probe, CreateMemoryProbe("proc"));
  ASSERT_OK_AND_ASSIGN(const auto reading, probe->Read());
  ASSERT_EQ(reading.devices.size(), 1u);
  EXPECT_GT(reading.devices[0].used_bytes, 0);
  EXPECT_GT(*reading.devices[0].limit_bytes, reading.devices[0].used_bytes);
  EXPECT_GT(*reading.devices[0].process_bytes, 0);
}

TEST(RealProbeTest, EveryProbeOfThisMachineAnswersOrSaysWhyNot) {
  for (const std::string_view name : MemoryProbeNames()) {
    if (name == "none" || name == "callback") continue;
    ASSERT_OK_AND_ASSIGN(const auto probe, CreateMemoryProbe(name));
    const auto reading = probe->Read();
    if (reading.ok()) {
      EXPECT_FALSE(reading->devices.empty()) << name;
    } else {
      EXPECT_EQ(reading.status().code(), absl::StatusCode::kUnavailable)
          << name << ": " << std::string(reading.status().message());
    }
  }
}

}  // namespace
}  // namespace tidegate
