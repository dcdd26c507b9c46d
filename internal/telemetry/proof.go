package telemetry

// ProofTenants is how many tenants are reserved for data that engines are tried
// with when a server starts: teams are numbered from 1 and never get so far.
const ProofTenants = 3

// ProofTenant returns the n-th reserved tenant, from 0.
func ProofTenant(n int) TenantID { return ^TenantID(0) - TenantID(n%ProofTenants) }

// ProofView returns a view of a reserved tenant: it can show no team's data.
func ProofView(n int, r Restriction) View { return NewView(ProofTenant(n), r) }
