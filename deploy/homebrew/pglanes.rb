# Homebrew's formula, for a tap of one's own. From a checkout:
#   brew install --build-from-source --HEAD ./deploy/homebrew/pglanes.rb
class Pglanes < Formula
  desc "PostgreSQL connection proxy that isolates workloads"
  homepage "https://pglanes.dev"
  license "MIT"
  # The checkout that this file lies in.
  head "file://#{File.expand_path("../..", __dir__)}", using: :git, branch: "main"

  depends_on "rust" => :build
  # PostgreSQL itself is not a dependency: the server may be any, on any machine.

  def install
    system "cargo", "install", *std_cargo_args(path: "crates/pglanes")
    (etc/"pglanes").mkpath
    # A file of the user's own stays as it is.
    cp "config/lanes.m4.yaml", etc/"pglanes/lanes.yaml" unless (etc/"pglanes/lanes.yaml").exist?
    pkgshare.install "deploy/prometheus", "deploy/grafana"
  end

  service do
    run [opt_bin/"pglanes", "serve", "--config", etc/"pglanes/lanes.yaml"]
    keep_alive successful_exit: false
    log_path var/"log/pglanes.log"
    error_log_path var/"log/pglanes.log"
    process_type :interactive
  end

  def caveats
    <<~EOS
      Check the lanes, then start:
        pglanes check --config #{etc}/pglanes/lanes.yaml
        brew services start pglanes
      Then point DATABASE_URL at port 6433 instead of 5432. To undo, point it back.
    EOS
  end

  test do
    assert_match "lanes", shell_output("#{bin}/pglanes check --offline --config #{etc}/pglanes/lanes.yaml")
  end
end
