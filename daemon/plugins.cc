#include "daemon/plugins.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "daemon/worker_client.h"
#include "spdlog/spdlog.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"

namespace editd::daemon {
namespace {

constexpr absl::Duration kDescribeTimeout = absl::Seconds(30);
constexpr auto kAskAgain = std::chrono::seconds(10);

// Reads, and does not map: a file that shrinks meanwhile must not end the daemon.
absl::StatusOr<Id> HashFile(const std::string& path) {
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenForRead(path));
  Sha256 hash;
  std::string buffer(1 << 20, '\0');
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("read ", path));
    if (n == 0) return hash.Finish();
    hash.Update(std::string_view(buffer).substr(0, static_cast<size_t>(n)));
  }
}

std::string Stem(const std::string& path) { return std::filesystem::path(path).stem().string(); }

}  // namespace

Plugins::Plugins(std::vector<std::string> folders, Launcher* launcher, CoreThread* core, storage::Store* store)
    : folders_(std::move(folders)), launcher_(launcher), core_(core), store_(store) {}

absl::StatusOr<Plugins::FileState> Plugins::Look(const std::string& path, bool folder) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, path);
  if (folder ? !S_ISDIR(info.st_mode) : !S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(StrCat(path, " is no ", folder ? "folder" : "regular file"));
  }
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return absl::PermissionDeniedError(
        StrCat(path, " belongs to uid ", info.st_uid, "; plugins must belong to root or to the daemon's user"));
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::PermissionDeniedError(StrCat(path, " may be written by others; chmod go-w ", path));
  }
  const auto nanoseconds = [](const struct timespec& t) { return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; };
  return FileState{info.st_dev, info.st_ino, info.st_size, nanoseconds(info.st_mtim), nanoseconds(info.st_ctim)};
}

void Plugins::Scan() {
  std::lock_guard<std::mutex> scanning(scanning_);
  std::map<std::string, Found> old;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    old = found_;
  }
  std::map<std::string, Found> found;
  const auto refuse = [&found](const std::string& path, const absl::Status& status) {
    Found& entry = found[path];
    entry.known.plugin.set_name(Stem(path));
    entry.known.plugin.set_path(path);
    entry.known.plugin.set_problem(std::string(status.message()));
  };
  for (const std::string& folder : folders_) {
    const auto folder_state = Look(folder, true);
    if (!folder_state.ok()) {
      if (!absl::IsNotFound(folder_state.status())) refuse(folder, folder_state.status());
      continue;
    }
    std::error_code error;
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      if (entry.path().extension() == ".so") paths.push_back(std::filesystem::weakly_canonical(entry.path()).string());
    }
    std::sort(paths.begin(), paths.end());
    for (const std::string& path : paths) {
      const auto state = Look(path, false);
      if (!state.ok()) {
        refuse(path, state.status());
        continue;
      }
      const auto before = old.find(path);
      const bool known = before != old.end() && before->second.state == *state &&
                         std::chrono::steady_clock::now() < before->second.ask_again;
      found[path] = known ? before->second : Describe(path, *state);
    }
  }
  // Of two plugins with one name the first folder's is run.
  std::map<std::string, std::string> names;
  for (auto& [path, entry] : found) {
    if (!entry.known.plugin.problem().empty()) continue;
    const auto [first, is_new] = names.emplace(entry.known.plugin.name(), path);
    if (!is_new) {
      entry.known.types = nullptr;
      entry.known.plugin.set_problem(StrCat("another plugin of that name is used: ", first->second));
    }
  }
  std::lock_guard<std::mutex> lock(mutex_);
  found_ = std::move(found);
}

Plugins::Found Plugins::Describe(const std::string& path, const FileState& state) {
  Found found;
  found.state = state;
  KnownPlugin& known = found.known;
  Id hash;
  const absl::StatusOr<v1::Plugin> plugin = [&]() -> absl::StatusOr<v1::Plugin> {
    ASSIGN_OR_RETURN(hash, HashFile(path));
    const auto cached = core_->Call([&] { return store_->FindPlugin(hash); });
    if (cached.has_value()) return *cached;
    absl::StatusOr<v1::Plugin> asked = Ask(path, hash);
    if (absl::IsUnavailable(asked.status())) asked = Ask(path, hash);  // Its worker may have been killed.
    RETURN_IF_ERROR(asked.status());
    RETURN_IF_ERROR(core_->Call([&] { return store_->PutPlugin(*asked); }));
    return asked;
  }();
  absl::Status status = plugin.status();
  if (plugin.ok()) {
    known.plugin = *plugin;
    auto types = PluginTypes::Make(known.plugin);
    status = types.status();
    if (types.ok()) known.types = *std::move(types);
  }
  if (!status.ok()) {
    known.plugin.set_name(Stem(path));
    known.plugin.set_problem(std::string(status.message()));
    spdlog::warn("plugin {}: {}", path, ToStd(status.message()));
  }
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status)) {
    found.ask_again = std::chrono::steady_clock::now() + kAskAgain;
  }
  known.plugin.set_hash(hash.empty() ? "" : hash.Hex());
  known.plugin.set_path(path);
  return found;
}

absl::StatusOr<v1::Plugin> Plugins::Ask(const std::string& path, const Id& hash) {
  WorkerClient client(launcher_, Stem(path));
  v1::ToWorker request;
  request.mutable_describe()->set_plugin_path(path);
  ASSIGN_OR_RETURN(const v1::FromWorker reply, client.Call(request, kDescribeTimeout));
  if (reply.describe().has_error()) {
    return absl::FailedPreconditionError(reply.describe().error().message());
  }
  v1::Plugin plugin;
  if (!plugin.ParseFromString(reply.describe().plugin()) || plugin.name().empty()) {
    return absl::FailedPreconditionError("the plugin does not say what it is");
  }
  plugin.set_hash(hash.Hex());
  plugin.set_path(path);
  RETURN_IF_ERROR(PluginTypes::Make(plugin).status());
  return plugin;
}

absl::StatusOr<KnownPlugin> Plugins::Find(std::string_view name) const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> names;
  const KnownPlugin* broken = nullptr;
  for (const auto& [path, entry] : found_) {
    const v1::Plugin& plugin = entry.known.plugin;
    if (plugin.problem().empty() && plugin.name() == name) return entry.known;
    if (plugin.name() == name) broken = &entry.known;
    if (plugin.problem().empty()) names.push_back(plugin.name());
  }
  if (broken != nullptr) {
    return absl::FailedPreconditionError(StrCat("plugin: \"", name, "\" cannot be run: ", broken->plugin.problem()));
  }
  const std::string hint = DidYouMean(name, names);
  return absl::NotFoundError(StrCat("plugin: there is no plugin \"", name, "\"",
                                    hint.empty() ? "; editctl plugins lists those that there are" : hint));
}

std::vector<v1::Plugin> Plugins::List() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<v1::Plugin> plugins;
  for (const auto& [path, entry] : found_) plugins.push_back(entry.known.plugin);
  std::stable_sort(plugins.begin(), plugins.end(),
                   [](const v1::Plugin& a, const v1::Plugin& b) { return a.name() < b.name(); });
  return plugins;
}

absl::StatusOr<std::string> Plugins::Usable(std::string_view name, std::string_view hash) const {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [path, entry] : found_) {
    if (entry.known.plugin.hash() != hash) continue;
    const auto state = Look(path, false);
    if (state.ok() && *state == entry.state) return path;
  }
  return absl::FailedPreconditionError(
      StrCat("the file of plugin \"", name, "\" that the job was submitted with is gone or has changed (its hash was ",
             hash.substr(0, 12), "); put it back, or cancel the job and submit it again"));
}

}  // namespace editd::daemon
