// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/policy_keys.h"
#include "tests/testing/command.h"
#include "tests/testing/matchers.h"
#include "tools/arguments.h"

namespace tidegate::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::tidegate::testing::Call;
using ::tidegate::testing::Outcome;
using ::tidegate::testing::ReadWhole;
using ::tidegate::testing::TemporaryFolder;

nlohmann::json Schema() {
  return nlohmann::json::parse(Call(RunPolicySchema, {}).out);
}

TEST(PolicySchemaTest, EveryKeyOfTheTableIsInIt) {
  const nlohmann::json schema = Schema();
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  for (const internal::PolicyKey& key : internal::PolicyKeys()) {
    const nlohmann::json* table = &schema;
    std::string path(key.table);
    while (!path.empty()) {
      const std::size_t dot = std::min(path.find('.'), path.size());
      const std::string name = path.substr(0, dot);
      ASSERT_TRUE((*table)["properties"].contains(name)) << key.table;
      table = &(*table)["properties"][name];
      EXPECT_EQ((*table)["additionalProperties"], false) << key.table;
      path.erase(0, dot + 1);
    }
    ASSERT_TRUE((*table)["properties"].contains(key.name))
        << key.table << "." << key.name;
    const nlohmann::json& value = (*table)["properties"][std::string(key.name)];
    EXPECT_THAT(value["description"].get<std::string>(),
                HasSubstr(std::string(key.doc)));
    for (const std::string_view word : key.words) {
      EXPECT_THAT(value.dump(), HasSubstr("\"" + std::string(word) + "\""));
    }
  }
}

// Runs the schema over files with Python's jsonschema; what it prints.
std::string Validate(const TemporaryFolder& folder,
                     const std::vector<std::string>& files) {
  folder.Write("schema.json", Schema().dump());
  folder.Write("check.py", R"(
import json, sys
try:
    import jsonschema, tomllib
except ImportError:
    print("skip"); sys.exit()
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for file in sys.argv[2:]:
    with open(file, "rb") as f:
        errors = list(validator.iter_errors(tomllib.load(f)))
    print("refused" if errors else "accepted", file)
)");
  std::string command = "python3 '" + folder.Path("check.py") + "' '" +
                        folder.Path("schema.json") + "'";
  for (const std::string& file : files) command += " '" + file + "'";
  command += " >'" + folder.Path("out") + "' 2>'" + folder.Path("err") + "'";
  if (std::system(command.c_str()) != 0) {
    return "failed: " + ReadWhole(folder.Path("err"));
  }
  return ReadWhole(folder.Path("out"));
}

TEST(PolicySchemaTest, AcceptsEveryShippedFile) {
  if (std::system("python3 -c 'import jsonschema, tomllib' 2>/dev/null") != 0) {
    GTEST_SKIP() << "Python has no jsonschema or no tomllib";
  }
  const TemporaryFolder folder;
  std::vector<std::string> files = {TIDEGATE_SOURCE_DIR
                                    "/examples/head_dim_256.toml"};
  for (const auto& entry : std::filesystem::directory_iterator(
           TIDEGATE_SOURCE_DIR "/policy_files")) {
    files.push_back(entry.path().string());
  }
  EXPECT_GE(files.size(), 9u);
  std::string wanted;
  for (const std::string& file : files) wanted += "accepted " + file + "\n";
  EXPECT_EQ(Validate(folder, files), wanted);
}

TEST(PolicySchemaTest, RefusesWhatASchemaCanRefuse) {
  if (std::system("python3 -c 'import jsonschema, tomllib' 2>/dev/null") != 0) {
    GTEST_SKIP() << "Python has no jsonschema or no tomllib";
  }
  const TemporaryFolder folder;
  const char* const kBroken[] = {
      "[memorry]\nceiling = 1\n",
      "[memory]\nceling = 1\n",
      "[memory]\nceiling = 0\n",
      "[memory]\nceiling = 1.5\n",
      "[memory]\nceiling = \"36 GB iB\"\n",
      "[memory]\nbase = -1\n",
      "[memory]\nheadroom = true\n",
      "memory = 5\n",
      "[chunk]\nmax = 0\n",
      "[chunk]\nmax = \"2g\"\n",
      "[chunk]\nfloor = 100000001\n",
      "[chunk]\nuse = \"throtle\"\n",
      "[chunk]\ndecode_stall = 200\n",
      "[chunk]\ndecode_stall = \"1 fortnight\"\n",
      "[order]\nuse = 1\n",
      "[admission]\nqueue_max = \"8\"\n",
      "[pressure]\nladder = \"pool\"\n",
      "[pressure]\nladder = [\"pool\", \"caches\"]\n",
      "[pressure]\nladder = [\"pool\", \"pool\"]\n",
      "[engine]\nname = \"mlx\"\ndevice = \"metal\"\n",
      "[engine]\nname = \"mlx\"\nversion = \"1\"\ndevice = \"metal\"\n"
      "options = { a = [1] }\n",
      "[model.shape]\nkv_heads = 1\nhead_dim = 64\nlayers = 1\n",
      "[estimator]\nuse = \"tabel\"\n",
      "[estimator]\nbreakpoints_n = [1]\n",
      "[estimator]\nunknown_score_bytes = 65\n",
  };
  std::vector<std::string> files;
  std::string wanted;
  for (const char* text : kBroken) {
    files.push_back(
        folder.Write("broken" + std::to_string(files.size()) + ".toml", text));
    wanted += "refused " + files.back() + "\n";
  }
  EXPECT_EQ(Validate(folder, files), wanted);
}

Outcome Show(const std::string& file, bool json) {
  Arguments args;
  args.files = {file};
  args.json = json;
  return Call(RunPolicyShow, args);
}

TEST(PolicyShowTest, SaysWhereEachValueComesFrom) {
  const TemporaryFolder folder;
  const std::string file = folder.Write(
      "p.toml",
      "[engine]\nname = \"mlx\"\nversion = \"0.31.2\"\ndevice = \"metal\"\n"
      "options = { kv_cache = \"prealloc\" }\n"
      "[memory]\nceiling = \"36 GiB\"\n[chunk]\nmax = \"1k\"\n"
      "decode_stall = \"200 ms\"\n");
  const Outcome outcome = Show(file, true);
  ASSERT_EQ(outcome.code, kExitDone) << outcome.status;
  std::map<std::string, nlohmann::json> settings;
  const nlohmann::json shown = nlohmann::json::parse(outcome.out);
  for (const nlohmann::json& one : shown["settings"]) {
    settings[one["key"]] = one;
  }
  EXPECT_EQ(settings["memory.ceiling"]["value"], Bytes{36} << 30);
  EXPECT_EQ(settings["memory.ceiling"]["origin"], "file");
  EXPECT_EQ(settings["memory.ceiling"]["line"], 7);
  EXPECT_EQ(settings["chunk.max"]["value"], 1024);
  EXPECT_EQ(settings["chunk.decode_stall"]["value"], 200'000'000);
  EXPECT_EQ(settings["chunk.floor"]["value"], 256);
  EXPECT_EQ(settings["chunk.floor"]["origin"], "default");
  EXPECT_TRUE(settings["chunk.floor"]["line"].is_null());
  EXPECT_EQ(settings["engine.options.kv_cache"]["origin"], "file");
  EXPECT_EQ(settings["engine.options.force"]["origin"], "engine");
  EXPECT_EQ(settings["engine.options.force"]["value"], "false");
}

TEST(PolicyShowTest, EveryKeyOfTheTableIsShown) {
  const TemporaryFolder folder;
  const Outcome outcome = Show(folder.Write("p.toml", ""), false);
  ASSERT_EQ(outcome.code, kExitDone) << outcome.status;
  for (const internal::PolicyKey& key : internal::PolicyKeys()) {
    // Without an engine or a shape there is nothing inside them.
    if (key.table == "model.shape" || key.name == "options") continue;
    EXPECT_THAT(outcome.out, HasSubstr("  " + std::string(key.table) + "." +
                                       std::string(key.name) + " "));
  }
}

TEST(PolicyShowTest, AWrongFileIsOneLine) {
  const TemporaryFolder folder;
  const Outcome outcome =
      Show(folder.Write("p.toml", "[memory]\nceling = 1\n"), false);
  EXPECT_EQ(outcome.code, -1);
  EXPECT_THAT(std::string(outcome.status.message()),
              HasSubstr("p.toml:2:1: memory.celing: unknown key"));
}

}  // namespace
}  // namespace tidegate::tools
