package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The user that etcd requires for authorization, with the role that may do everything.
const rootName = "root"

// The store knows a client by the common name of its certificate, which is the ID of its host.
var withoutPassword = &clientv3.UserAddOptions{NoPassword: true}

// Authorize switches authorization on, with a host that may do everything. It can be repeated.
func (c *Client) Authorize(ctx context.Context, manager string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*CallTimeout)
	defer cancel()
	for _, user := range []string{rootName, manager} {
		if err := c.addUser(ctx, user, rootName); err != nil {
			return err
		}
	}
	if _, err := c.c.AuthEnable(ctx); err != nil {
		return failed(err)
	}
	return nil
}

// Admit lets a host read the keys below a prefix and write those below others. It can be repeated.
func (c *Client) Admit(ctx context.Context, host, read string, write ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*CallTimeout)
	defer cancel()
	if _, err := c.c.RoleAdd(ctx, host); err != nil && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
		return failed(err)
	}
	permissions := map[string]clientv3.PermissionType{read: clientv3.PermissionType(clientv3.PermRead)}
	for _, key := range write {
		permissions[key] = clientv3.PermissionType(clientv3.PermReadWrite)
	}
	for key, kind := range permissions {
		if _, err := c.c.RoleGrantPermission(ctx, host, key, clientv3.GetPrefixRangeEnd(key), kind); err != nil {
			return failed(err)
		}
	}
	return c.addUser(ctx, host, host)
}

// Expel takes all rights of a host away. It does nothing for an unknown one.
func (c *Client) Expel(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*CallTimeout)
	defer cancel()
	if _, err := c.c.UserDelete(ctx, host); err != nil && !errors.Is(err, rpctypes.ErrUserNotFound) {
		return failed(err)
	}
	if _, err := c.c.RoleDelete(ctx, host); err != nil && !errors.Is(err, rpctypes.ErrRoleNotFound) {
		return failed(err)
	}
	return nil
}

func (c *Client) addUser(ctx context.Context, user, role string) error {
	if _, err := c.c.UserAddWithOptions(ctx, user, "", withoutPassword); err != nil &&
		!errors.Is(err, rpctypes.ErrUserAlreadyExist) {
		return failed(err)
	}
	if role == rootName {
		if _, err := c.c.RoleAdd(ctx, role); err != nil && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
			return failed(err)
		}
	}
	if _, err := c.c.UserGrantRole(ctx, user, role); err != nil {
		return failed(err)
	}
	return nil
}
