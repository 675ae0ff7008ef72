// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate: the command line. Reads the arguments, runs one verb, and turns
// what it answers into an exit code and, where it failed, one line.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "estimators/text.h"
#include "tools/arguments.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using Run = absl::StatusOr<int> (*)(const Arguments&, Streams&);

struct Verb {
  std::string name;  // "policy check"
  CLI::App* app = nullptr;
  Run run = nullptr;
};

// Text that goes on one line, whatever a file name or an engine's message held.
std::string OneLine(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    if (!control) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

int Fail(std::string_view verb, std::string_view message, int code) {
  std::cerr << "tidegate" << (verb.empty() ? "" : " ") << verb << ": "
            << OneLine(message) << "\n";
  return code;
}

class CommandLine {
 public:
  CommandLine();
  int Main(int argc, char** argv);

 private:
  CLI::App* AddVerb(CLI::App* parent, const std::string& path, Run run,
                    const std::string& doc, const std::string& example);
  void Text(CLI::App* app, const std::string& flag,
            std::optional<std::string>* value, const std::string& type,
            const std::string& doc);
  void Texts(CLI::App* app, const std::string& flag,
             std::vector<std::string>* values, const std::string& type,
             const std::string& doc);
  void AddPolicyFlag(CLI::App* app);
  void AddModelFlags(CLI::App* app);
  void AddPromptFlags(CLI::App* app);
  void AddMemoryFlags(CLI::App* app);
  void AddSimulationFlags(CLI::App* app);

  const Verb* Chosen() const;
  int ReportUnknown(const Verb* verb) const;

  Arguments args_;
  CLI::App app_{
      "Decides how many prompt tokens an LLM engine prefills next, whether a "
      "request may start, and why not."};
  std::vector<Verb> verbs_;
  // What is wrong with the first flag that was given wrongly.
  std::string complaint_;
};

CLI::App* CommandLine::AddVerb(CLI::App* parent, const std::string& path,
                               Run run, const std::string& doc,
                               const std::string& example) {
  CLI::App* app = parent->add_subcommand(
      path.substr(path.rfind(' ') == std::string::npos ? 0
                                                       : path.rfind(' ') + 1),
      doc);
  app->allow_extras();
  app->footer(Concat("Example:\n  ", example));
  app->add_flag("--json", args_.json, "Print JSON instead of text");
  verbs_.push_back({path, app, run});
  return app;
}

void CommandLine::Text(CLI::App* app, const std::string& flag,
                       std::optional<std::string>* value,
                       const std::string& type, const std::string& doc) {
  app->add_option_function<std::vector<std::string>>(
         flag,
         [this, flag, value](const std::vector<std::string>& given) {
           if (given.empty()) return;
           *value = given.front();
           if (!complaint_.empty()) return;
           if (given.size() > 1) {
             complaint_ = Concat(flag, ": expected once, got it ", given.size(),
                                 " times");
           } else if (given.front().starts_with("--")) {
             complaint_ = Concat(flag, ": expected a value, got the flag ",
                                 given.front());
           }
         },
         doc)
      ->type_name(type)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void CommandLine::Texts(CLI::App* app, const std::string& flag,
                        std::vector<std::string>* values,
                        const std::string& type, const std::string& doc) {
  CLI::Option* option = app->add_option(flag, *values, doc);
  option->type_name(type);
  if (flag.starts_with("-")) {
    option->expected(1)->allow_extra_args(false)->multi_option_policy(
        CLI::MultiOptionPolicy::TakeAll);
  }
}

void CommandLine::AddPolicyFlag(CLI::App* app) {
  Text(app, "--policy", &args_.policy, "FILE",
       "Policy file; the flags below replace what it says");
}

void CommandLine::AddModelFlags(CLI::App* app) {
  Text(app, "--model", &args_.model, "FILE", "config.json of the model");
  Text(app, "--engine", &args_.engine, "NAME@VERSION/DEVICE",
       "Engine, such as mlx@0.31.2/metal");
  Texts(app, "--engine-option", &args_.engine_options, "KEY=VALUE",
        "Option of the engine; may be repeated (see tidegate engines NAME)");
  Text(app, "--estimator", &args_.estimator, "NAME",
       "catalog (default), fused, tiled, unfused, table, formula or "
       "calibrated");
  Text(app, "--catalogue", &args_.catalogue, "FILE",
       "Catalogue file whose engine replaces the built-in one of that name");
  Text(app, "--kv-dtype", &args_.kv_dtype, "TYPE",
       "Stored type of KV: fp16, fp8, int4, or bytes per element");
}

void CommandLine::AddPromptFlags(CLI::App* app) {
  Text(app, "--prompt", &args_.prompt, "N",
       "Tokens of the whole prompt, such as 32768 or 32k");
  Text(app, "--cached", &args_.cached, "N",
       "Tokens of it that are in the prefix cache already (0)");
  Text(app, "--max-output", &args_.max_output, "N",
       "Tokens that decoding may add (0)");
  Text(app, "--mask", &args_.mask, "KIND",
       "none, causal (default), bool, float, array or lower_right");
}

void CommandLine::AddMemoryFlags(CLI::App* app) {
  Text(app, "--ceiling", &args_.ceiling, "BYTES",
       "Bytes that must never be exceeded, such as \"36 GiB\"");
  Text(app, "--base", &args_.base, "BYTES",
       "Live before any request (the weights, where their size is known)");
  Text(app, "--headroom", &args_.headroom, "BYTES", "Kept back by policy (0)");
  Text(app, "--max-allocation", &args_.max_allocation, "BYTES",
       "Largest single buffer that the device gives (no limit)");
  Text(app, "--chunk-max", &args_.chunk_max, "N", "Widest chunk (2048)");
  Text(app, "--chunk-floor", &args_.chunk_floor, "N",
       "Narrowest chunk but the last (256)");
  Text(app, "--chunk-quantum", &args_.chunk_quantum, "N",
       "Chunk boundaries are multiples of it (64)");
}

void CommandLine::AddSimulationFlags(CLI::App* app) {
  Text(app, "--requests", &args_.requests, "N",
       "Only the first N requests of a trace (all)");
  Text(app, "--max-output", &args_.max_output, "N",
       "Output budget of every request (exactly what the trace generates)");
  Text(app, "--slo-ttft", &args_.slo_ttft, "S",
       "Longest time to the first token that counts for goodput (10)");
  Text(app, "--slo-itl", &args_.slo_itl, "S",
       "Longest mean time between output tokens that counts (0.1)");
  app->add_flag("--progress", args_.progress,
                "Show the progress bar even where stderr is no terminal");
  AddMemoryFlags(app);
  AddModelFlags(app);
}

CommandLine::CommandLine() {
  app_.name("tidegate");
  app_.set_version_flag("--version", "tidegate " TIDEGATE_VERSION);
  app_.allow_extras();
  app_.add_flag("--json", args_.json, "Print JSON instead of text");
  app_.footer(
      "`tidegate VERB --help` shows a verb's flags and an example.\n"
      "Exit codes: 0 done, 1 failed, 2 bad input, 3 refused (plan, explain).");

  const std::string model = "--model config.json --engine mlx@0.31.2/metal";

  CLI::App* price =
      AddVerb(&app_, "price", RunPrice, "What one step costs, with every term",
              Concat("tidegate price ", model, " --n 2048 --kv-len 32768"));
  AddPolicyFlag(price);
  AddModelFlags(price);
  Text(price, "--n", &args_.n, "N", "Query tokens of the chunk");
  Text(price, "--kv-len", &args_.kv_len, "K",
       "Tokens that it attends to, itself included (as many as --n)");
  Text(price, "--mask", &args_.mask, "KIND",
       "none, causal (default), bool, float, array or lower_right");

  CLI::App* plan = AddVerb(
      &app_, "plan", RunPlan, "Whether a prompt fits, and in which chunks",
      Concat("tidegate plan ", model,
             " --prompt 128k --ceiling \"36 GiB\" --base \"16 GiB\""));
  CLI::App* explain =
      AddVerb(&app_, "explain", RunExplain,
              "Why a prompt is admitted or refused, in words",
              Concat("tidegate explain ", model,
                     " --prompt 128k --ceiling \"36 GiB\" --base \"16 GiB\""));
  for (CLI::App* app : {plan, explain}) {
    AddPromptFlags(app);
    AddMemoryFlags(app);
    AddPolicyFlag(app);
    AddModelFlags(app);
  }

  CLI::App* simulate = AddVerb(
      &app_, "simulate", RunSimulate,
      "What a policy would have done with a trace of requests",
      "tidegate simulate --policy policy.toml --trace trace.csv --out run");
  Text(
      simulate, "--trace", &args_.trace, "FILE",
      "Trace: uniform, Azure or BurstGPT CSV, Mooncake JSON lines, and others");
  Text(simulate, "--out", &args_.out, "DIR",
       "Folder for summary.json, events.jsonl, timeline.json and "
       "report.html");
  Text(simulate, "--rival", &args_.rival, "NAME",
       "Another engine's rules in place of the policy's (docs/rivals.md)");
  AddPolicyFlag(simulate);
  AddSimulationFlags(simulate);

  CLI::App* compare = AddVerb(
      &app_, "compare", RunCompare,
      "Several policies on the same traces, ceilings and loads",
      "tidegate compare --policies a.toml,b.toml --trace trace.csv --ceiling "
      "\"36 GiB,48 GiB\" --load 1,2 --out DIR");
  Text(compare, "--policies", &args_.policies, "A.toml,B.toml,rival:NAME",
       "Policies to compare; the flags below replace what each says");
  Texts(compare, "--trace", &args_.traces, "FILE",
        "Trace, as of simulate; may be repeated");
  Text(compare, "--load", &args_.loads, "X,...",
       "Arrivals so many times as fast as in the trace (1)");
  Text(compare, "--seeds", &args_.seeds, "N",
       "Seed 0 keeps the trace's arrivals, each further one shuffles the gaps "
       "between them (1)");
  Text(compare, "--jobs", &args_.jobs, "N", "Runs at once (one a core)");
  Text(compare, "--out", &args_.out, "DIR",
       "Folder for compare.json, runs/ and report.html");
  compare->add_flag("--resume", args_.resume,
                    "Take the runs that are in DIR already, and make the "
                    "others");
  AddSimulationFlags(compare);
  compare->get_option("--ceiling")
      ->type_name("BYTES,...")
      ->description(
          "Ceilings to compare, such as \"36 GiB,48 GiB\" (each "
          "policy's own)");

  CLI::App* replay =
      AddVerb(&app_, "replay", RunReplay,
              "Replay scenario files and compare with what must come of them",
              "tidegate replay scenarios/*.jsonl");
  Texts(replay, "FILE", &args_.files, "", "Scenarios, one JSON object a line");

  CLI::App* validate = AddVerb(
      &app_, "validate", RunValidate, "Compare prices with measured rows",
      "tidegate validate attention.csv models.csv --json");
  Texts(validate, "FILE", &args_.files, "",
        "Tables: attention, masks, models or compute buffers");
  validate->add_flag("--with-scratch", args_.with_scratch,
                     "llama.cpp: count the CPU backend's scratch as well");
  Text(validate, "--catalogue", &args_.catalogue, "FILE",
       "Catalogue file whose engine replaces the built-in one of that name");

  Text(validate, "--profile", &args_.profile, "FILE",
       "Judge prices as this profile of `tidegate calibrate` corrects them");

  CLI::App* calibrate =
      AddVerb(&app_, "calibrate", RunCalibrate,
              "Fit a profile to measured rows, for use = \"calibrated\"",
              "tidegate calibrate models.csv --out profile.toml");
  Texts(calibrate, "FILE", &args_.files, "",
        "Tables as validate reads them, or events.jsonl of a run");
  Text(calibrate, "--out", &args_.out, "FILE",
       "The profile; beside it a page that draws fit and residuals (.html) "
       "and their table (.plot.csv)");
  Text(calibrate, "--date", &args_.date, "YYYY-MM-DD",
       "When the rows were measured, for the record");
  calibrate->add_flag("--with-scratch", args_.with_scratch,
                      "llama.cpp: count the CPU backend's scratch as well");
  AddModelFlags(calibrate);

  CLI::App* engines =
      AddVerb(&app_, "engines", RunEngines,
              "Engines, versions, options and routes that the catalogue knows",
              "tidegate engines mlx");
  engines->add_option_function<std::string>(
      "NAME", [this](const std::string& name) { args_.name = name; },
      "One engine, in full");
  Text(engines, "--catalogue", &args_.catalogue, "FILE",
       "Catalogue file whose engine replaces the built-in one of that name");

  CLI::App* policy = app_.add_subcommand("policy", "Work on policy files");
  policy->allow_extras();
  policy->add_flag("--json", args_.json, "Print JSON instead of text");
  verbs_.push_back({"policy", policy, nullptr});
  CLI::App* check = AddVerb(policy, "policy check", RunPolicyCheck,
                            "Whether a policy file is right, and what it says",
                            "tidegate policy check policy.toml");
  Texts(check, "FILE", &args_.files, "", "The policy file");
  Text(check, "--model", &args_.model, "FILE",
       "config.json of the model that it is checked with");
  AddVerb(policy, "policy schema", RunPolicySchema,
          "JSON Schema of policy files, for editors and generators",
          "tidegate policy schema > policy.schema.json");
  CLI::App* show = AddVerb(policy, "policy show", RunPolicyShow,
                           "Every setting in effect, and where it comes from",
                           "tidegate policy show policy.toml");
  Texts(show, "FILE", &args_.files, "", "The policy file");
  Text(show, "--model", &args_.model, "FILE",
       "config.json of the model for which it is shown");
}

// The innermost verb that was typed; null without one.
const Verb* CommandLine::Chosen() const {
  const Verb* chosen = nullptr;
  for (const Verb& verb : verbs_) {
    if (verb.app->parsed()) chosen = &verb;
  }
  return chosen;
}

// Words that nothing took: a misspelt verb or flag, or one too many.
int CommandLine::ReportUnknown(const Verb* verb) const {
  const CLI::App& app = verb == nullptr ? app_ : *verb->app;
  const std::string name = verb == nullptr ? "" : verb->name;
  const std::vector<std::string> words = app_.remaining(true);
  const auto flag = std::find_if(
      words.begin(), words.end(),
      [](const std::string& word) { return word.starts_with("-"); });
  const auto suggest = [](const std::string& word,
                          const std::vector<std::string>& known) {
    const std::vector<std::string_view> views(known.begin(), known.end());
    const std::string_view near = internal::DidYouMean(word, views);
    return near.empty() ? std::string() : Concat("; did you mean ", near, "?");
  };
  if (flag != words.end() && (verb != nullptr || flag == words.begin())) {
    const std::string typed = flag->substr(0, flag->find('='));
    std::vector<std::string> known;
    for (const CLI::Option* option : app.get_options()) {
      const std::string text = option->get_name();
      if (text.starts_with("--")) known.push_back(text);
    }
    if (std::find(known.begin(), known.end(), typed) != known.end()) {
      return Fail(name, Concat(typed, ": expected after the verb"),
                  kExitBadInput);
    }
    return Fail(
        name,
        Concat(typed, ": unknown flag", suggest(typed, known),
               " (see tidegate ", name, name.empty() ? "" : " ", "--help)"),
        kExitBadInput);
  }
  if (verb != nullptr && verb->run != nullptr) {
    return Fail(name, Concat("expected no \"", words.front(), "\" here"),
                kExitBadInput);
  }
  std::vector<std::string> known;
  std::string list;
  for (const CLI::App* sub : app.get_subcommands(nullptr)) {
    known.push_back(sub->get_name());
    list += Concat(list.empty() ? "" : ", ", sub->get_name());
  }
  if (words.empty()) {
    return Fail(name, Concat("expected a verb: ", list), kExitBadInput);
  }
  return Fail(name,
              Concat("expected a verb: ", list, ", got \"", words.front(), "\"",
                     suggest(words.front(), known)),
              kExitBadInput);
}

int CommandLine::Main(int argc, char** argv) {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return app_.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    const Verb* verb = Chosen();
    const std::string name = verb == nullptr ? "" : verb->name;
    const std::string what = error.what();
    if (error.get_name() == "ArgumentMismatch") {
      return Fail(name,
                  Concat(what.substr(0, what.find(':')), ": expected a value"),
                  kExitBadInput);
    }
    if (error.get_name() == "ConversionError") {
      return Fail(name, "--json, --progress, --with-scratch: expected no value",
                  kExitBadInput);
    }
    return Fail(name, what, kExitBadInput);
  }
  const Verb* verb = Chosen();
  if (verb != nullptr && !complaint_.empty()) {
    return Fail(verb->name, complaint_, kExitBadInput);
  }
  if (verb == nullptr || verb->run == nullptr ||
      !app_.remaining(true).empty()) {
    return ReportUnknown(verb);
  }
  Streams io{.out = std::cout,
             .err = std::cerr,
             .err_is_terminal = isatty(STDERR_FILENO) != 0};
  const absl::StatusOr<int> code = verb->run(args_, io);
  if (code.ok()) {
    if (std::cout.flush()) return *code;
    return Fail(verb->name, "cannot write to the standard output", kExitFailed);
  }
  const bool bad_input =
      code.status().code() == absl::StatusCode::kInvalidArgument ||
      code.status().code() == absl::StatusCode::kNotFound;
  return Fail(verb->name, std::string(code.status().message()),
              bad_input ? kExitBadInput : kExitFailed);
}

}  // namespace
}  // namespace tidegate::tools

int main(int argc, char** argv) {
  return tidegate::tools::CommandLine().Main(argc, argv);
}
