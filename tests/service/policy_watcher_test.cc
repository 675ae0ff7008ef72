// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A policy file that changes while requests are in flight.

#include "tidegate/policy_watcher.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/service/harness.h"

namespace tidegate {
namespace {

using ::testing::HasSubstr;
using ::tidegate::testing::IsOk;
namespace fs = std::filesystem;

#ifdef __linux__

class PolicyWatcherTest : public testing::ServiceFixture {
 protected:
  PolicyWatcherTest() {
    const std::string name =
        ::testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::path(::testing::TempDir()) /
              (name + std::to_string(std::random_device{}()));
    fs::create_directories(folder_);
  }
  ~PolicyWatcherTest() override {
    watcher_.reset();
    fs::remove_all(folder_);
  }

  std::string Path(const std::string& name) const { return folder_ / name; }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name), std::ios::binary) << text;
  }
  // As editors do.
  void Replace(const std::string& name, const std::string& text) const {
    Write(name + ".new", text);
    fs::rename(Path(name + ".new"), Path(name));
  }
  void Start() {
    PolicyWatcherOptions options{.file = Path("p.toml")};
    // The small device's prices: the policy's limits over them.
    options.make =
        [](const PolicyFile& policy) -> absl::StatusOr<ServicePolicy> {
      auto made = MakeSchedulerOptions(policy, testing::SmallEstimator(), 0);
      if (!made.ok()) return made.status();
      made->step.sequences = 1;
      return ServicePolicy{*made, policy.tenants};
    };
    options.on_reload = [this](const PolicyReload& reload) {
      const std::lock_guard lock(mutex_);
      reloads_.push_back(reload);
    };
    auto started = PolicyWatcher::Start(std::move(options), service(),
                                        threads_.executor());
    ASSERT_THAT(started, IsOk());
    watcher_ = std::move(started).value();
  }
  std::size_t reloads() const {
    const std::lock_guard lock(mutex_);
    return reloads_.size();
  }
  // Waits for the next reload after so many.
  PolicyReload Next(std::size_t after) {
    EXPECT_TRUE(testing::Eventually([&] { return reloads() > after; }));
    const std::lock_guard lock(mutex_);
    return reloads_.empty() ? PolicyReload{} : reloads_.back();
  }

  fs::path folder_;
  mutable std::mutex mutex_;
  std::vector<PolicyReload> reloads_;
  std::unique_ptr<PolicyWatcher> watcher_;
};

constexpr char kPolicy[] =
    "[memory]\nceiling = 10000\n[chunk]\nmax = 1024\nfloor = 64\n";

TEST_F(PolicyWatcherTest, AFileThatIsReplacedTakesEffect) {
  Write("p.toml", kPolicy);
  Start();
  Replace("p.toml",
          "[memory]\nceiling = 10000\n[chunk]\nmax = 128\nfloor = 64\n");
  const PolicyReload reload = Next(0);
  EXPECT_THAT(reload.status, IsOk());
  EXPECT_EQ(reload.ToString(), Path("p.toml") + ": in effect");
  auto client = Submit(1, 1000);
  auto step = engine_->TakeStep();
  ASSERT_EQ(step.step.chunks.size(), 1u);
  EXPECT_EQ(step.step.chunks[0].n, 128);
  client.Cancel();
  ASSERT_TRUE(EventuallyCancels(1));
  step.done.Complete(StepOutcome::Done());
  client.Get();
}

TEST_F(PolicyWatcherTest, AWrongFileChangesNothingAndSaysWhereItIsWrong) {
  Write("p.toml", kPolicy);
  Start();
  Replace("p.toml", "[memory]\nceling = 5\n");
  const PolicyReload reload = Next(0);
  EXPECT_THAT(reload.ToString(),
              HasSubstr("p.toml:2:1: memory.celing: unknown key"));
  EXPECT_THAT(reload.ToString(), HasSubstr("nothing changed"));
  EXPECT_EQ(service().Metrics().policy_reloads, 0);
}

TEST_F(PolicyWatcherTest, AnIncludedFileIsWatchedToo) {
  fs::create_directories(folder_ / "shared");
  Write("shared/base.toml", kPolicy);
  Write("p.toml", "include = [\"shared/base.toml\"]\n");
  Start();
  EXPECT_THAT(watcher_->Folders(),
              ::testing::ElementsAre(folder_.string(), Path("shared")));
  Replace("shared/base.toml", "[memory]\nceiling = 9000\n");
  EXPECT_THAT(Next(0).status, IsOk());
  EXPECT_TRUE(testing::Eventually(
      [&] { return service().Metrics().policy_reloads == 1; }));
}

TEST_F(PolicyWatcherTest, AFileThatIsNotThereIsAnError) {
  EXPECT_THAT(
      PolicyWatcher::Start({.file = Path("none.toml")}, service(),
                           threads_.executor())
          .status(),
      testing::StatusIs(absl::StatusCode::kNotFound, HasSubstr("none.toml")));
}

// Answers steps on the device's own thread, as many as it is allowed, and
// counts what it holds.
class MeteredEngine final : public Engine {
 public:
  explicit MeteredEngine(boost::asio::any_io_executor executor)
      : strand_(boost::asio::make_strand(executor)) {}
  void Run(const RunStep& step, StepCompletion done) override {
    auto handle = std::make_shared<StepCompletion>(std::move(done));
    Bytes transient = 0;
    for (const StepChunk& chunk : step.chunks) transient += 4 * chunk.n;
    boost::asio::post(strand_, [this, step, handle, transient] {
      job_ = [this, step, handle, transient] {
        Finish(step, *handle, transient);
      };
      Pump();
    });
  }
  void Allow(std::int64_t steps) {
    boost::asio::post(strand_, [this, steps] {
      budget_ += steps;
      Pump();
    });
  }
  void StartDecode(RequestId id, DecodeHandle decode) override {
    auto handle = std::make_shared<DecodeHandle>(std::move(decode));
    boost::asio::post(strand_, [this, id, handle] {
      held_.erase(id);
      handle->Finish();
    });
  }
  void Release(RequestId id) override { Drop(id); }
  void Preempt(RequestId id) override { Drop(id); }
  Bytes peak() const { return peak_; }

 private:
  void Pump() {
    if (job_ == nullptr || budget_ == 0) return;
    --budget_;
    std::exchange(job_, nullptr)();
  }
  void Finish(const RunStep& step, StepCompletion& done, Bytes transient) {
    for (const StepChunk& chunk : step.chunks) held_[chunk.id] += chunk.n;
    Bytes live = 0;
    for (const auto& [id, bytes] : held_) live += bytes;
    peak_ = std::max(peak_.load(), live + transient);
    done.Complete(StepOutcome::Done());
  }
  void Drop(RequestId id) {
    boost::asio::post(strand_, [this, id] { held_.erase(id); });
  }
  boost::asio::strand<boost::asio::any_io_executor> strand_;
  std::function<void()> job_;
  std::int64_t budget_ = 0;
  std::map<RequestId, Bytes> held_;
  std::atomic<Bytes> peak_{0};
};

int Count(const char* variable, int fallback) {
  const char* wanted = std::getenv(variable);
  return wanted != nullptr ? std::max(1, std::atoi(wanted)) : fallback;
}

// TIDEGATE_STRESS_REQUESTS=10000 TIDEGATE_STRESS_RELOADS=1000: the whole load.
TEST_F(PolicyWatcherTest, UnderLoadNothingIsLostAndMemoryHolds) {
  const int requests = Count("TIDEGATE_STRESS_REQUESTS", 300);
  const int files = Count("TIDEGATE_STRESS_RELOADS", 60);
  Write("p.toml", kPolicy);
  auto engine = std::make_shared<MeteredEngine>(threads_.executor());
  options_.clock = clock_;
  auto created =
      Service::Create(std::move(options_), engine, threads_.executor());
  ASSERT_THAT(created, IsOk());
  service_ = std::move(created).value();
  Start();
  const std::uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  std::vector<testing::ClientCall> clients;
  clients.reserve(static_cast<std::size_t>(requests));
  for (int i = 0; i < requests; ++i) {
    clients.push_back(Submit(static_cast<RequestId>(i + 1),
                             1 + static_cast<Tokens>(random() % 1500)));
  }
  std::int64_t valid = 0;
  for (int i = 0; i < files; ++i) {
    const std::string ceiling = std::to_string(8000 + random() % 2001);
    std::string text =
        "[memory]\nceiling = " + ceiling + "\n[chunk]\nmax = 512\nfloor = 64\n";
    switch (random() % 4) {
      case 0:
        text += "[order]\nuse = \"shrotest\"\n";
        break;
      case 1:
        text.resize(9 + random() % 8);  // Cut inside the ceiling's line.
        break;
      default:
        ++valid;
    }
    text = "# " + std::to_string(i) + "\n" + text;
    const std::size_t before = reloads();
    if (random() % 2 == 0) {
      Replace("p.toml", text);
    } else {
      Write("p.toml", text);
    }
    // Few enough that most requests are open until the last file.
    engine->Allow(1 + requests / files);
    Next(before);
  }
  EXPECT_GT(service().Metrics().open, requests / 4);
  engine->Allow(1'000'000'000);
  int finished = 0;
  for (testing::ClientCall& client : clients) {
    const SubmitResult result = client.Get();
    finished += result.outcome == Outcome::kFinished;
  }
  EXPECT_EQ(finished, requests);
  EXPECT_LE(engine->peak(), 10'000);
  const ServiceMetrics metrics = service().Metrics();
  EXPECT_EQ(metrics.scheduler.out_of_memory, 0);
  EXPECT_EQ(metrics.open, 0);
  EXPECT_EQ(metrics.scheduler.claimed_bytes, 0);
  EXPECT_EQ(metrics.scheduler.resident_bytes, 0);
  EXPECT_GE(metrics.policy_reloads, valid / 2);
  std::printf("%d requests, %d files, %lld in effect, peak %lld\n", requests,
              files, static_cast<long long>(metrics.policy_reloads),
              static_cast<long long>(engine->peak()));
}

TEST_F(PolicyWatcherTest, ATenantsQueueIsItsOwn) {
  options_.tenants.named["acme"] = {.queue_max = 1};
  service();
  const auto request = [](RequestId id, std::string tenant) {
    return SubmitRequest{
        .id = id, .request = {.prompt_tokens = 4000}, .tenant = tenant};
  };
  auto running = Submit(request(1, "acme"));
  auto step = engine_->TakeStep();
  auto waits = Submit(request(2, "acme"));
  ASSERT_TRUE(EventuallyOpen(2));
  const SubmitResult refused = Submit(request(3, "acme")).Get();
  EXPECT_EQ(refused.code, RefusalCode::kOverloaded);
  EXPECT_EQ(refused.reason,
            "the queue of tenant \"acme\" is full: its queue_max of 1 request "
            "waits");
  auto other = Submit(request(4, "else"));
  ASSERT_TRUE(EventuallyOpen(3));
  service_.reset();
  step.done.Complete(StepOutcome::Done());
  for (auto* client : {&running, &waits, &other}) client->Get();
}

#endif  // __linux__

}  // namespace
}  // namespace tidegate
