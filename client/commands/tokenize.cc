// tokenize: how a version's tokenizer, or one in a file, cuts texts.
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client/commands/commands.h"
#include "client/format.h"
#include "client/message_json.h"
#include "client/table.h"
#include "plugins/lib/text/corpus.h"
#include "plugins/lib/text/count.h"
#include "plugins/lib/text/tokenizer.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

struct Options {
  std::string model, file;
  bool special = false, totals = false;
};

// The tokenizer.json of a version, through the transfer socket.
absl::StatusOr<MappedFile> TokenizerOf(Session* session, const std::string& ref) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto response = connection->GetVersion(ref);
  if (!response.ok()) return WithNext(response.status(), "editctl models");
  for (const v1::FileEntry& file : response->version().files()) {
    if (file.name() != "tokenizer.json") continue;
    ASSIGN_OR_RETURN(Transfer * transfer, session->ConnectTransfer());
    ASSIGN_OR_RETURN(const UniqueFd fd, transfer->GetAsset(file.asset()));
    return MappedFile::Map(fd.get(), 0, file.size(), file.name());
  }
  return WithNext(absl::NotFoundError(StrCat("\"", ref, "\" has no tokenizer.json")), StrCat("editctl show ", ref));
}

// A file if there is one of this name, or a folder with one; else a version.
absl::StatusOr<MappedFile> OpenTokenizer(Session* session, const std::string& name) {
  struct stat status;
  if (::stat(name.c_str(), &status) != 0) {
    if (name.ends_with(".json")) return absl::NotFoundError(StrCat("no file \"", name, "\""));
    return TokenizerOf(session, name);
  }
  return MappedFile::Open(S_ISDIR(status.st_mode) ? name + "/tokenizer.json" : name);
}

// All of standard input.
std::string ReadInput() {
  std::string text;
  char buffer[1 << 16];
  for (size_t got; (got = std::fread(buffer, 1, sizeof buffer, stdin)) > 0;) text.append(buffer, got);
  return text;
}

void PrintDocument(Session* session, const text::Tokenizer& tokenizer, uint64_t index, std::string_view document,
                   const std::vector<text::TokenSpan>& spans) {
  if (session->json) {
    std::string ids, pieces, begins, ends;
    for (const text::TokenSpan& span : spans) {
      const char* const comma = ids.empty() ? "" : ",";
      StrAppend(&ids, comma, span.id);
      StrAppend(&pieces, comma, JsonString(tokenizer.TokenText(span.id)));
      StrAppend(&begins, comma, span.begin);
      StrAppend(&ends, comma, span.end);
    }
    session->Print(StrCat("{\"kind\":\"document\",\"document\":", index, ",\"bytes\":", document.size(), ",\"ids\":[",
                          ids, "],\"pieces\":[", pieces, "],\"begin\":[", begins, "],\"end\":[", ends, "]}\n"));
    return;
  }
  session->Print(StrCat(index == 0 ? "" : "\n", "document ", index, ": ", Plural(spans.size(), "token"), ", ",
                        FormatBytes(static_cast<double>(document.size())), "\n"));
  Table table({{"begin", Table::Align::kRight},
               {"end", Table::Align::kRight},
               {"id", Table::Align::kRight},
               {"piece"},
               {"text"}});
  for (const text::TokenSpan& span : spans) {
    table.Row({StrCat(span.begin), StrCat(span.end), StrCat(span.id), std::string(tokenizer.TokenText(span.id)),
               JsonString(document.substr(span.begin, span.end - span.begin))});
  }
  session->Print(table.ToString(session->width()));
}

void PrintTotals(Session* session, const text::CorpusTotals& totals, uint64_t tokens) {
  const double ratio = tokens == 0 ? 0 : static_cast<double>(totals.bytes) / static_cast<double>(tokens);
  if (session->json) {
    session->Print(StrCat("{\"kind\":\"totals\",\"documents\":", totals.documents, ",\"bytes\":", totals.bytes,
                          ",\"tokens\":", tokens, ",\"bytes_per_token\":", JsonNumber(ratio), "}\n"));
    return;
  }
  session->Print(StrCat(Plural(totals.documents, "document"), ", ", FormatBytes(static_cast<double>(totals.bytes)),
                        ", ", FormatCount(static_cast<double>(tokens)), tokens == 1 ? " token, " : " tokens, ",
                        FormatNumber(ratio), " bytes a token\n"));
}

absl::StatusOr<int> RunTokenize(Session* session, const Options& options) {
  ASSIGN_OR_RETURN(const MappedFile json, OpenTokenizer(session, options.model));
  ASSIGN_OR_RETURN(const std::unique_ptr<text::Tokenizer> tokenizer, text::Tokenizer::FromJson(json.view()));
  text::CorpusFile file;
  MappedFile mapped;
  std::string input;
  if (options.file == "-") {
    input = ReadInput();
    file.data = input;
    file.name = "standard input";
  } else {
    ASSIGN_OR_RETURN(mapped, MappedFile::Open(options.file));
    file.data = mapped.view();
    file.name = options.file;
  }
  if (options.totals) {
    ASSIGN_OR_RETURN(text::TokenCounts counts, text::CountTokens(*tokenizer, file));
    const uint64_t added = options.special ? tokenizer->prefix().size() + tokenizer->suffix().size() : 0;
    PrintTotals(session, counts.totals, counts.tokens + added * counts.totals.documents);
    return kExitOk;
  }
  text::Encoder encoder(tokenizer.get());
  std::vector<text::TokenSpan> spans;
  uint64_t documents = 0, tokens = 0;
  ASSIGN_OR_RETURN(const text::CorpusTotals totals, text::ForEachDocument(file, [&](std::string_view document) {
                     spans.clear();
                     encoder.EncodeOffsets(document, options.special, &spans);
                     PrintDocument(session, *tokenizer, documents++, document, spans);
                     tokens += spans.size();
                     return absl::OkStatus();
                   }));
  if (!session->json) session->Print("\n");
  PrintTotals(session, totals, tokens);
  return kExitOk;
}

}  // namespace

void AddTokenizeCommand(CLI::App* app, Session* session) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = AddCommand(app, "tokenize", "Show the tokens of a text: pieces, ids and where they are",
                                       kModels, "editctl tokenize smol notes.txt");
  command->add_option("model", options->model, "A version, or the path of a tokenizer.json")
      ->type_name("REF")
      ->required();
  command
      ->add_option("file", options->file,
                   "A text, or JSON lines (.jsonl) with the text in \"text\"; - is standard input")
      ->type_name("FILE")
      ->required();
  command->add_flag("--special", options->special, "Add the tokens that the model wants around a text");
  command->add_flag("--totals", options->totals, "Count only, with all cores");
  command->callback([=] { session->command = [=] { return RunTokenize(session, *options); }; });
}

}  // namespace editd::client
