package shop

import "fmt"

// A service of the shop.
type service struct {
	name, version, owner, language string
	memory                         float64 // MiB in use
}

var services = []service{
	{"gateway", "1.31.4", "platform", "go", 90},
	{"storefront", "8.0.2", "storefront", "nodejs", 210},
	{"catalog", "5.1.9", "storefront", "java", 620},
	{"search", "1.9.2", "storefront", "go", 190},
	{"cart", "3.4.0", "storefront", "dotnet", 170},
	{"checkout", "6.2.1", "payments", "java", 540},
	{"payments", "2.3.0", "payments", "go", 85},
	{"orders", "4.7.3", "logistics", "python", 130},
	{"inventory", "2.8.8", "logistics", "go", 75},
	{"shipping", "1.12.0", "logistics", "ruby", 150},
	{"notifications", "0.9.7", "platform", "python", 110},
	{"auth", "7.5.0", "platform", "go", 70},
}

// Services returns the names of the 12 services.
func Services() []string {
	out := make([]string, len(services))
	for i, s := range services {
		out[i] = s.name
	}
	return out
}

// site is where instances run: a team's environment in a region.
type site struct{ team, environment, region string }

var sites = []site{
	{Team, Production, Europe},
	{Team, Production, America},
	{Team, Staging, Europe},
	{OtherTeam, Production, Europe},
}

// sites are where the set's instances run.
func (s *Set) sites() []site {
	if s.Alone {
		return sites[:len(sites)-1]
	}
	return sites
}

// versionAt is the version of a service that runs in a minute. Staging had
// everything an hour before.
func versionAt(svc service, at site, minute int) string {
	if at.team != Team {
		return svc.version
	}
	if at.environment == Staging {
		minute += 60
	}
	for _, d := range deploys {
		if d.service == svc.name && minute >= d.minute {
			return d.version
		}
	}
	return svc.version
}

var deploys = []struct {
	service, version string
	minute           int
}{
	{"payments", "2.3.1", paymentsDeploy}, {"orders", "4.8.0", ordersDeploy}, {"catalog", "5.2.0", catalogDeploy},
}

// instances are the resources of all services at all sites, made anew when a
// version changes.
type instances map[string]*Resource

func (in instances) get(svc int, at site, minute int) *Resource {
	s := services[svc]
	version := versionAt(s, at, minute)
	key := fmt.Sprint(svc, at, version)
	if s.name == "search" {
		_, kills := leaked(minute)
		key += fmt.Sprint(kills)
	}
	if r := in[key]; r != nil {
		return r
	}
	zone := map[string]int{Europe: 1, America: 2}[at.region]
	host := fmt.Sprintf("node-%d", (svc*3+zone*5)%20+20)
	if s.name == "inventory" && at == (site{Team, Production, Europe}) {
		host = skewedHost
	}
	if at.team != Team {
		host = "outlet-" + host
	}
	r := &Resource{
		Team: at.team, Service: s.name, Version: version, Environment: at.environment, Region: at.region, Owner: s.owner, Host: host,
		Pod: fmt.Sprintf("%s-%x-%s", s.name, hash(key), at.environment[:1]+at.region[:2]),
	}
	in[key] = r
	return r
}

// hash spreads a text over 32 bits (FNV-1a).
func hash(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

func indexOf(name string) int {
	for i, s := range services {
		if s.name == name {
			return i
		}
	}
	panic("no service " + name)
}
