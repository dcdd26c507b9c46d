// Command oriel lets AI assistants read a team's telemetry as the person who
// asks: it serves, and it administers. "oriel --help" lists the commands.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/orielhq/oriel/internal/config"
	"github.com/orielhq/oriel/internal/quiet"
)

// cli is the command line: one field for each command.
type cli struct {
	Config kong.ConfigFlag `help:"Settings file (YAML); flags and the environment are stronger." env:"ORIEL_CONFIG" placeholder:"FILE"`

	Serve      serveCommand      `cmd:"" help:"Run the server."`
	User       userCommand       `cmd:"" help:"People: add, invite, reset-password, disable, enable, delete, list, reset-mfa."`
	Team       teamCommand       `cmd:"" help:"Teams: add, list, rename."`
	Member     memberCommand     `cmd:"" help:"Who is in a team, with which roles: set, remove, list."`
	Role       roleCommand       `cmd:"" help:"Roles of a team or of all, and what they show: set, list, remove."`
	Group      groupCommand      `cmd:"" help:"Groups of people and the roles that they give: add, list, remove, member, grant, revoke."`
	Access     accessCommand     `cmd:"" help:"What somebody may do in a team, and why: explain."`
	Key        keyCommand        `cmd:"" help:"Ingest keys, with which collectors send telemetry: add, list, revoke."`
	Grant      grantCommand      `cmd:"" help:"Connections of assistants: list, revoke."`
	Client     clientCommand     `cmd:"" help:"Assistants as OAuth clients: list, add, revoke, block, unblock."`
	Issuer     issuerCommand     `cmd:"" help:"Identity providers whose assertions are taken: add, list, remove."`
	Policy     policyCommand     `cmd:"" help:"What sign-ins must have had, for the organization and for teams: set, show."`
	Provider   providerCommand   `cmd:"" help:"Identity providers that people sign in at (single sign-on): add, list, enable, disable, remove, map groups."`
	SigningKey signingKeyCommand `cmd:"" help:"Keys that tokens are signed with: list, rotate."`
	SCIM       scimCommand       `cmd:"" name:"scim" help:"Provisioning by an identity provider: token add, list, revoke."`
	Mail       mailCommand       `cmd:"" help:"Letters: test."`
	Audit      auditCommand      `cmd:"" help:"Print what happened: who did what to whom, when and from where."`
	Backup     backupCommand     `cmd:"" help:"Copy the database to a file, while the server runs."`
	Restore    restoreCommand    `cmd:"" help:"Put a copy of the database back, while no server runs."`
	Doctor     doctorCommand     `cmd:"" help:"Check the installation and say what to do."`
	Telemetry  telemetryCommand  `cmd:"" help:"The telemetry store: usage."`
	Import     importCommand     `cmd:"" help:"Bring files of logs, spans and metrics into a team."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
	Engine     engineCommand     `cmd:"" hidden:"" help:"The log engine's own process, started by serve."`

	MigrateStore migrateStoreCommand `cmd:"" name:"migrate-store" help:"Move the state from SQLite to PostgreSQL, and prove that it is the same."`
}

// environment is what commands need of the outside.
type environment struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
}

func main() {
	quiet.End()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(&environment{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run executes one command line and returns the exit code: 0, 1 for a command
// that failed, 2 for one that could not be understood.
func run(env *environment, args []string) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("oriel"),
		kong.Description("Oriel lets AI assistants read your team's logs, traces and metrics, as the person who asks and never more than that person may see."),
		kong.Writers(env.stdout, env.stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.Configuration(config.Load),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.Bind(env),
	)
	if err != nil {
		fmt.Fprintf(env.stderr, "oriel: %v\n", err)
		return 2
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited // --help has been answered
	}
	if err != nil {
		fmt.Fprintf(env.stderr, "oriel: %v (see \"oriel %s--help\")\n", err, commandOf(args))
		return 2
	}
	if err := parsed.Run(env); err != nil {
		fmt.Fprintf(env.stderr, "oriel: %v\n", err)
		return 1
	}
	return 0
}

// commandOf returns the leading words of a command line that name a command,
// for a hint.
func commandOf(args []string) string {
	var words string
	for _, a := range args {
		if len(a) == 0 || a[0] == '-' {
			break
		}
		words += a + " "
	}
	return words
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(env *environment) error {
	_, err := fmt.Fprintln(env.stdout, "oriel", version())
	return err
}

// version is that of the module, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return "devel"
}
