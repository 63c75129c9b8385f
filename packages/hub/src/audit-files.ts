/** Reads and verifies an audit log without a hub: `@culvert/hub/audit`. */
export { listSegments, type SegmentFile } from './observe/audit/segment-files.ts';
export {
  type AuditFinding,
  type AuditToVerify,
  type AuditVerdict,
  MAX_FINDINGS,
  verifyAudit,
} from './observe/audit/verify-audit.ts';
