/** Reads and verifies an audit log without a hub: `@culvert/hub/audit`. */
export { listSegments, type SegmentFile } from './segment-files.ts';
export {
  type AuditFinding,
  type AuditToVerify,
  type AuditVerdict,
  MAX_FINDINGS,
  verifyAudit,
} from './verify-audit.ts';
