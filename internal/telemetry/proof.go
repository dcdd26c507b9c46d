package telemetry

// proofTenants are reserved for data that engines are tried with when a server
// starts: no team has them.
var proofTenants = [2]TenantID{1<<32 - 3, 1<<32 - 2}

// ProofTenant returns one of the two reserved tenants.
func ProofTenant(second bool) TenantID {
	if second {
		return proofTenants[1]
	}
	return proofTenants[0]
}

// ProofView returns a view of a reserved tenant: it can show no team's data.
func ProofView(second bool, r Restriction) View { return NewView(ProofTenant(second), r) }
